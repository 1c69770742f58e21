/** Reasons why a cell runs, in more cases. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const STEP = (body: string) => `import { writeFile } from 'node:fs/promises';
export default {
  name: 'write', version: 1,
  options: { a: { type: 'integer' }, deep: { type: 'object' } }, optional: ['deep'],
  inputs: { data: 'folder' }, outputs: { o: 'file' },
  async run({ options, outputs }) {
    ${body}
  },
};
`;

const PIPELINE = `params: { a: 1, x: 1 }
steps:
  w: { uses: ./write.mjs, with: { a: "\${{ params.a }}", deep: { x: "\${{ params.x }}", y: 1 }, data: data }, env: [MODE] }
`;

test('the most similar result is the one with the fewest differences, not the last one', async () => {
  const p = project({ 'p.yaml': PIPELINE, 'write.mjs': STEP("await writeFile(outputs.o, 'x');"), 'data/f': 'f\n' });
  await p.states('p.yaml', '-p', 'a=1', '-p', 'x=1');
  p.write('data/f', 'other\n');
  await p.states('p.yaml', '-p', 'a=2', '-p', 'x=2');
  const explained = JSON.parse((await p.run('explain', 'w', '--json', '-p', 'a=1', '-p', 'x=1')).stdout);
  expect(explained.differences).toEqual([{ what: 'input data', files: [{ name: 'data/f', change: 'changed' }], total: 1 }]);
  expect((await p.run('explain', 'w', '-p', 'a=1', '-p', 'x=2')).stdout).toContain('\n  option a: 2 → 1\n');
});

const WORDS = `
params: { word: hello, rate: 1e-3, other: x, dir: out }
steps:
  say: { run: "echo \${{ params.word }} \${{ params.rate }} > \${{ outputs.o }}", outputs: { o: "\${{ params.dir }}/say" } }
  env: { run: "echo $WORD $PLAIN > \${{ outputs.o }}", env: { WORD: "<\${{ params.word }}>", PLAIN: x }, outputs: { o: out/env } }
`;

test('a changed parameter in a command or a variable is reported by its name, everywhere', async () => {
  const p = project({ 'p.yaml': WORDS });
  await p.states('p.yaml');
  const why = 'params.word: hello → two words';
  const set = ['-p', 'word=two words'];
  for (const command of [
    ['run', 'p.yaml', '--dry-run'],
    ['status', 'p.yaml'],
  ]) {
    const { stdout } = await p.run(...command, ...set);
    expect(stdout).toMatch(new RegExp(`run +say +${why}\n`));
    expect(stdout).toMatch(new RegExp(`run +env +${why}\n`));
  }
  const explained = await p.run('explain', 'p.yaml', 'say', ...set);
  expect(explained.stdout).toContain(`say must run: ${why}\n`);
  expect(explained.stdout).toMatch(/\n {2}params.word: hello → two words\n$/);
  expect(explained.stdout).not.toContain('command changed');
  const run = await p.run('run', 'p.yaml', ...set);
  expect(run.stdout).toContain(`say: running (${why})`);
  expect(run.stdout).toContain(`env: running (${why})`);
  expect((await p.run('runs', 'diff')).stdout).toContain(`    ${why}`);
  // Several changes; a value with another spelling; a command whose template also changed.
  const both = await p.run('status', 'p.yaml', '-p', 'word=hello', '-p', 'rate=0.001', '-p', 'dir=out2');
  expect(both.stdout).toMatch(/run +say +params.rate: 1e-3 → 0.001; outputs.o: out\/say → out2\/say\n/);
  p.write('p.yaml', WORDS.replace('echo ${{ params.word }}', 'echo new ${{ params.word }}'));
  const command = await p.run('status', 'p.yaml', '-p', 'word=bye');
  expect(command.stdout).toMatch(/run +say +params.word: two words → bye; command changed\n/);
  expect((await p.run('status', 'p.yaml', '-p', 'other=y', ...set)).stdout).toMatch(/run +say +command changed\n/);
});
