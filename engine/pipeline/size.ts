/** `512MB`, `8GB`, `1.5GiB` in bytes; the schema has seen that it is one. */
export function bytes(text: string): number {
  const [, count, prefix = '', binary] = /^([\d.]+) ?([kMGT])?(i)?B$/.exec(text)!;
  return Math.round(Number(count) * (binary ? 1024 : 1000) ** ['', 'k', 'M', 'G', 'T'].indexOf(prefix));
}
