/** Globs over names that are not on this disk. They mean what they mean for files. */
import { matcher } from '../pipeline/glob.ts';

/** `*`, `?`, `[a-z]`, `{a,b}`, `{1..3}` and `**`; names are relative, and those that begin with a dot are passed over. */
export function matching(names: string[], glob: string): string[] {
  const match = matcher(`/${glob.replace(/(?<!\\)\{(-?\d+)\.\.(-?\d+)\}/g, written)}`, '/');
  return names.filter((name) => match(`/${name}`) === 'itself');
}

/** `{08..11}` as a shell reads it: {08,09,10,11}. */
function written(_: string, from: string, to: string): string {
  const [first, last] = [Number(from), Number(to)];
  const width = /^-?0\d/.test(from) || /^-?0\d/.test(to) ? Math.max(from.length, to.length) : 0;
  const step = first <= last ? 1 : -1;
  const all = Array.from({ length: Math.min(10_000, Math.abs(last - first) + 1) }, (_, i) => first + i * step);
  return `{${all.map((n) => String(n).padStart(width, '0')).join(',')}}`;
}
