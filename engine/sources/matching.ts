/** Globs over remote file names, with the same meaning as for local files. */
import { matcher } from '../pipeline/glob.ts';

/** Supports `*`, `?`, `[a-z]`, `{a,b}`, `{1..3}` and `**`. Names are relative. Names that begin with a dot do not match. */
export function matching(names: string[], glob: string): string[] {
  const match = matcher(`/${glob.replace(/(?<!\\)\{(-?\d+)\.\.(-?\d+)\}/g, written)}`, '/');
  return names.filter((name) => match(`/${name}`) === 'itself');
}

/** Expands `{08..11}` as a shell does: {08,09,10,11}. */
function written(_: string, from: string, to: string): string {
  const [first, last] = [Number(from), Number(to)];
  const width = /^-?0\d/.test(from) || /^-?0\d/.test(to) ? Math.max(from.length, to.length) : 0;
  const step = first <= last ? 1 : -1;
  const all = Array.from({ length: Math.min(10_000, Math.abs(last - first) + 1) }, (_, i) => first + i * step);
  return `{${all.map((n) => String(n).padStart(width, '0')).join(',')}}`;
}
