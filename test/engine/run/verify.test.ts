/** `tunesmith verify`: cells run again in a clean folder and must produce the locked outputs. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const PIPELINE = `
steps:
  words: { run: "sort \${{ inputs.text }} > \${{ outputs.list }}", inputs: { text: "in/*.txt" }, outputs: { list: out/words.txt } }
  count:
    uses: ./count.mjs
    with: { list: "\${{ steps.words.list }}", extra: in }
  noise: { run: "date +%N > \${{ outputs.o }}", outputs: { o: noise.txt } }
  secretly: { run: "cat hidden.txt > \${{ outputs.o }}", outputs: { o: out/secretly.txt } }
`;
const COUNT = `
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
export default {
  name: 'count', version: 1, inputs: { list: 'file', extra: 'folder' }, outputs: { n: 'file' },
  run({ inputs, outputs }) {
    writeFileSync(outputs.n, readFileSync(inputs.list, 'utf8').length + ' ' + readdirSync(inputs.extra).join(' '));
  },
};
`;
const FILES = { 'p.yaml': PIPELINE, 'count.mjs': COUNT, 'in/a.txt': 'pear\n', 'in/b.txt': 'apple\n', 'hidden.txt': 'x\n' };

test('identical outputs are verified; the project is not changed', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const before = p.snapshot();
  const { code, screen } = await p.run('verify', 'p.yaml', 'words', 'count');
  expect(screen).toBe('✔ words  <time>  identical outputs\n✔ count  <time>  identical outputs\n2 cells verified\n');
  expect(code).toBe(0);
  expect(p.snapshot()).toEqual(before);
});

test('cells are chosen by a seed, which is printed', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const drawn = async (seed: string) =>
    (await p.run('verify', 'p.yaml', '--cells', '2', '--seed', seed, '--json')).events.map(({ cell }) => cell);
  const one = await drawn('1');
  expect(one).toHaveLength(2);
  expect(await drawn('1')).toEqual(one);
  expect((await p.run('verify', 'p.yaml', '--cells', '1')).screen).toMatch(/^cells chosen with --seed \d+, compared with p\.lock\n/);
});

test('exit code 1 for a nondeterministic step, an undeclared input, and a forged lockfile', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const noise = await p.run('verify', 'p.yaml', 'noise');
  expect(noise.screen).toMatch(
    /^✖ noise {2}<time> {2}it is not deterministic: output o \(file \w{8} → file \w{8}\); a second execution produced different outputs again\n1 of 1 cell not verified\n$/,
  );
  expect(noise.code).toBe(1);
  const secretly = await p.run('verify', 'p.yaml', 'secretly');
  expect(secretly.screen).toMatch(/it failed: exited with 1\n {4}cat: hidden\.txt: No such file or directory\n/);

  const lock = p.read('p.lock');
  p.write('p.lock', lock.replace(/(words:\n.*\n.*\n {4}list: file )\w{4}/, '$10000'));
  const madeUp = await p.run('verify', 'p.yaml', 'words');
  expect(madeUp.screen).toMatch(/two executions produced identical outputs, but they differ from the stored ones: output list \(file 0000/);
  expect(madeUp.code).toBe(1);
  p.write('p.lock', lock);
  p.write('in/a.txt', 'fig\n');
  expect((await p.run('verify', 'p.yaml', 'words')).screen).toContain('it has changed since: input text changed: 1 of 2 files');
});

test('without a cache, dependencies run too; without a lockfile, the cache is compared', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const fresh = project(FILES);
  fresh.write('p.lock', p.read('p.lock'));
  const { code, screen } = await fresh.run('verify', 'p.yaml', 'count');
  expect([code, screen]).toEqual([0, '✔ count  <time>  identical outputs\n1 cell verified\n']);
  expect(fresh.find('.').sort()).toEqual(['count.mjs', 'hidden.txt', 'in/a.txt', 'in/b.txt', 'p.lock', 'p.yaml']);

  p.remove('p.lock');
  expect((await p.run('verify', 'p.yaml', '--cells', '9')).screen).toMatch(
    /compared with the results in the cache\n(.*\n)*2 of 4 cells not verified\n$/,
  );
  fresh.remove('p.lock');
  expect((await fresh.run('verify', 'p.yaml')).code).toBe(2);
});
