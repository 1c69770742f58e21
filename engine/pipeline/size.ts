/** Parses `512MB`, `8GB`, `1.5GiB` to bytes. The schema has checked the format. */
export function bytes(text: string): number {
  const [, count, prefix = '', binary] = /^([\d.]+) ?([kMGT])?(i)?B$/.exec(text)!;
  return Math.round(Number(count) * (binary ? 1024 : 1000) ** ['', 'k', 'M', 'G', 'T'].indexOf(prefix));
}
