/** `only`, `from`, `until`: the selected cells and what they need. */
import { expect, test } from 'vitest';
import { engine } from './rig.ts';

const YAML = `
steps:
  a: { run: "echo a > \${{ outputs.o }}", outputs: { o: a.txt } }
  b: { matrix: { x: [1, 2] }, run: "cat \${{ steps.a.o }} > \${{ outputs.o }}; echo \${{ matrix.x }} >> \${{ outputs.o }}", outputs: { o: "b\${{ matrix.x }}.txt" } }
  c: { run: "cat \${{ steps.b[*].o }} > \${{ outputs.o }}", outputs: { o: c.txt } }
  apart: { run: "echo > \${{ outputs.o }}", outputs: { o: apart.txt } }
`;

const cells = async (p: ReturnType<typeof engine>, options: Parameters<typeof p.plan>[0]) => Object.keys(await p.plan(options));

test('a step means all its cells; combined options select the intersection', async () => {
  const p = engine(YAML);
  await p.go();
  expect(await cells(p, { only: ['b'] })).toEqual(['b[x=1]', 'b[x=2]']);
  expect(await cells(p, { from: ['b[x=1]'] })).toEqual(['b[x=1]', 'c']);
  expect(await cells(p, { until: ['b[x=1]'] })).toEqual(['a', 'b[x=1]']);
  expect(await cells(p, { from: ['a'], until: ['b'] })).toEqual(['a', 'b[x=1]', 'b[x=2]']);
  await expect(p.plan({ only: ['apart'], until: ['c'] })).rejects.toThrow('the selection is empty');
});

test('an unknown name is refused, with a suggestion', async () => {
  const p = engine(YAML);
  const error = await p.plan({ only: ['aprt', 'b[x=3]'] }).catch((error) => error);
  expect(error.name).toBe('InvalidError');
  expect(error.diagnostics.map(({ message, hint }: any) => [message.replace(/ in .*/, ''), hint])).toEqual([
    ['--only aprt: there is no such cell or step', expect.stringMatching(/^did you mean "apart"\?/)],
    ['--only b[x=3]: there is no such cell or step', expect.stringMatching(/^did you mean "b\[x=1\]"\?/)],
  ]);
});

test('dependencies must be fresh or restorable; they are restored, and not part of the summary', async () => {
  const p = engine(YAML);
  const refused = await p.go({ only: ['c'] }).catch((error) => error);
  expect(refused.diagnostics.map(({ message }: any) => message)).toEqual([
    'a is not selected, but must run first: first run',
    'b[x=1] is not selected, but must run first: a must run first',
    'b[x=2] is not selected, but must run first: a must run first',
  ]);
  expect(refused.diagnostics.at(-1).hint).toMatch(/^To run it, use: tunesmith run .*p\.yaml --until b$/);
  expect(p.exists('a.txt')).toBe(false);

  await p.go({ until: ['b'] });
  expect(p.exists('c.txt')).toBe(false);
  p.remove('b1.txt');
  const only = await p.go({ only: ['c'] });
  expect(only.states).toEqual({ c: 'ran' });
  expect(p.read('c.txt')).toBe('a\n1\na\n2\n');
  expect(p.read('b1.txt')).toBe('a\n1\n');
  expect((await p.go({ only: ['c'] })).states).toEqual({ c: 'fresh' });
});

const SWEEP = `
steps:
  t: { matrix: { lr: [3e-4, .001], bs: [16, 32], tag: [a b, "1", 1e0, true], m: [{ k: 1, l: x }] }, run: echo }
  u: { run: echo }
`;

test('values in brackets: spelled as in YAML, keys in any order, a part of them for all matches', async () => {
  const p = engine(SWEEP);
  const all = await cells(p, { only: ['t'] });
  expect(all).toHaveLength(16);
  const count = async (word: string) => (await cells(p, { only: [word] })).length;
  expect(await count('t[lr=3e-4]')).toBe(8);
  expect(await count('t[lr=0.0003]')).toBe(8);
  expect(await count('t[lr=.001]')).toBe(8);
  expect(await count('t[bs=16, lr=3E-4]')).toBe(4);
  expect(await count('t[lr=1e-3,bs=0x10]')).toBe(4);
  expect(await count('t[tag=a b]')).toBe(4);
  expect(await count('t[tag="a b",bs=32]')).toBe(2);
  expect(await count("t[tag='1']")).toBe(4);
  expect(await count('t[tag=True]')).toBe(4);
  expect(await count('t[m={l: x, k: 1}]')).toBe(16);
  expect(await count('t[m={"k":1,"l":"x"},lr=3e-4,bs=16,tag="1"]')).toBe(1);
  const hint = async (word: string) => (await p.plan({ only: [word] }).catch((error) => error)).diagnostics[0].hint;
  expect(await hint('t[lrr=1]')).toBe('did you mean "lr"? dimensions of t: lr, bs, tag, m');
  expect(await hint('tt[lr=1]')).toMatch(/^did you mean "t"\?|^steps: t, u/);
  expect(await hint('t[lr=5e-4]')).toContain('cells of t: ');
  expect(await hint('t[lr]')).toContain('cells of t: ');
  expect(await hint('u[lr=1]')).toContain('u');
});
