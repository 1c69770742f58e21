/** Parses `90s`, `5m`, `2h`, `1h30m` to milliseconds; undefined for other texts. */
export function milliseconds(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smh])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined;
  return parts.reduce((total, [, count, unit]) => total + Number(count) * UNITS[unit as 's' | 'm' | 'h'], 0);
}

const UNITS = { s: 1000, m: 60_000, h: 3_600_000 };
