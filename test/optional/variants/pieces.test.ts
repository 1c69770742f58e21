/** Files of all kinds in pieces. */
import { expect, test } from 'vitest';
import { Problems } from '../../../engine/contract/errors.ts';
import { readInPieces } from '../../../engine/pipeline/large-source.ts';
import { Literal, type Tree } from '../../../engine/pipeline/literals.ts';
import { parseText, readSource } from '../../../engine/pipeline/source.ts';

/** Everything about a value: the order of keys, and how scalars were written. */
function whole(value: Tree): string {
  if (value instanceof Literal) return `<${value.text}|${JSON.stringify(value.value)}>`;
  if (Array.isArray(value)) return `[${value.map(whole)}]`;
  if (value !== null && typeof value === 'object') return `{${Object.entries(value).map(([key, inner]) => `${key}: ${whole(inner)}`)}}`;
  return JSON.stringify(value);
}

/** The value by the library alone; undefined where anything is wrong with it. */
function byLibrary(text: string): Tree | undefined {
  const problems = new Problems();
  try {
    const { value } = readSource('/p.yaml', problems, text);
    return problems.isEmpty ? value : undefined;
  } catch {
    return undefined;
  }
}

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const WORDS =
  'a x 7 s1 run echo 10 007 0x1F 0o17 1e5 3e-4 1.10 +12 -5 .5 true True null NULL ~ yes 12345678901234567890 .inf q0q Ünï b_c <<'.split(
    ' ',
  );

const SCALARS = [
  (w: string) => w,
  (w: string) => `"${w}"`,
  (w: string) => `'${w}'`,
  (w: string) => `"${w} \\n ${w}"`,
  (w: string) => `'it''s ${w}'`,
  (w: string) => `${w} && sed s/${w}/b/ > out/${w}.txt`,
  (w: string) => `"cat \${{ steps.${w}.o }} # no comment"`,
  (w: string) => `${w} # ${w}`,
  (w: string) => `[${w}, "${w}", { ${w}: ${w} }]`,
  (w: string) => `{ o: out/${w}, "${w}": [1, ${w}],\n      z: ${w} }`,
  (w: string) => `|\n      echo ${w}\n        ${w}: 2\n\n      ${w}\n`,
  (w: string) => `>${w.length > 2 ? '-' : ''}\n      folded ${w}\n      ${w}\n`,
  (w: string) => `|2\n      two ${w}`,
  (w: string) => `${w}\n      goes on ${w}`,
  (w: string) => `"${w}\n\n      goes on"`,
  (w: string) => `\n    - ${w}\n    - [${w}]\n    - k: ${w}\n      ${w}: 1`,
  (w: string) => `\n      deep: ${w}\n      ${w}:`,
  (w: string) => `!!str ${w}`,
  (w: string) => `&${w} ${w}`,
  (w: string) => `*${w}`,
  () => '',
];

const PLACES = '-?:,[]{}#&*!|>\'"%@` \t\n\\.0a<~='.split('');

function made(next: (below: number) => number): string {
  const pick = <T>(list: readonly T[]) => list[next(list.length)]!;
  const step = (name: string) => {
    if (next(4) > 0) return `  ${name}: { run: ${pick(['echo', '"echo"'])} , n: ${pick(WORDS)}, ${pick(WORDS)}: "${pick(WORDS)}" }\n`;
    const keys = Array.from({ length: 1 + next(3) }, (_, i) => `    ${pick(['k', 'key', ...WORDS])}${i}: ${pick(SCALARS)(pick(WORDS))}\n`);
    return `${pick(['', '', '# between\n', '\n', '    # indented\n'])}  ${name}:\n${keys.join('')}`;
  };
  const steps = Array.from({ length: 2 + next(8) }, (_, i) => step(next(30) === 0 ? pick(WORDS) : `s${i * (next(2) ? 1 : 100)}${i}`));
  let text = `${pick(['', 'name: p\n', '---\n', '%YAML 1.1\n---\n', 'd: &a x\n'])}steps:\n${steps.join('')}${pick(['', 'tail: 1\n', '...\n', '---\na: 1\n'])}`;
  for (let n = next(4); n > 0; n--) {
    const at = next(text.length);
    text = `${text.slice(0, at)}${pick([pick(PLACES), '', pick(WORDS)])}${text.slice(at + next(2))}`;
  }
  return next(10) === 0 ? text.replaceAll('\n', '\r\n') : text;
}

test('files of all kinds, whole and broken, have the values that the library reads', () => {
  const next = random(Number(process.env.PIECES_SEED ?? 1));
  const count = Number(process.env.PIECES_COUNT ?? 800);
  let [answers, good] = [0, 0];
  for (let n = 0; n < count; n++) {
    const text = made(next);
    const expected = byLibrary(text);
    if (expected !== undefined) good++;
    const found = readInPieces(text, parseText);
    if (found === undefined) continue;
    answers++;
    expect(expected === undefined ? 'a mistake' : whole(expected), text).toBe(whole(found));
  }
  // Otherwise it would show nothing.
  expect(answers).toBeGreaterThan(count / 8);
  expect(answers).toBeGreaterThan(good / 2);
});
