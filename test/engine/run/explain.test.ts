/** The reason why a cell runs: one line after every run, and all details with `explain`. */
import { mkdirSync } from 'node:fs';
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

function many(): Record<string, string> {
  return Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`data/${i % 3}/${i}.txt`, `${i}\n`]));
}

/** The differences that `explain` prints. */
function compared(stdout: string): string {
  return stdout.slice(stdout.indexOf('differences from')).split('\n').slice(1).join('\n');
}

test('all differences from the most similar result: options, inputs by file, code by diff, environment', async () => {
  const env: Record<string, string | undefined> = { MODE: 'one' };
  const p = project({ 'p.yaml': PIPELINE, 'write.mjs': STEP("await writeFile(outputs.o, 'x');"), ...many() }, env);
  expect((await p.run('explain', 'w')).stdout).toMatch(/^w must run: first run\n[\s\S]*\nthere is no other result to compare with\n$/);
  await p.states('p.yaml');
  expect((await p.run('explain', 'w')).stdout).toMatch(
    /^w is fresh: .*\nin run 1, it ran: first run\n[\s\S]*\nits result was created on .*\n\nthere is no other result/,
  );

  // One file among many is changed, one added, one removed.
  p.write('data/1/1.txt', 'changed\n');
  p.write('data/new/n.txt', 'new\n');
  p.remove('data/2/2.txt');
  p.write('write.mjs', STEP("const text = 'x';\n    await writeFile(outputs.o, text);"));
  env.MODE = undefined;
  const explained = await p.run('explain', 'w', '-p', 'x=2');
  expect(compared(explained.stdout)).toBe(`  code of ./write.mjs changed
    changed  write.mjs
    @@ -4,6 +4,7 @@
       options: { a: { type: 'integer' }, deep: { type: 'object' } }, optional: ['deep'],
       inputs: { data: 'folder' }, outputs: { o: 'file' },
       async run({ options, outputs }) {
    -    await writeFile(outputs.o, 'x');
    +    const text = 'x';
    +    await writeFile(outputs.o, text);
       },
     };
  option deep.x: 1 → 2
  input data changed: 3 of 61 files
    changed  data/1/1.txt
    added  data/new/n.txt
    removed  data/2/2.txt
  env MODE: set → not set
`);
  const why = (await p.states('p.yaml', '-p', 'x=2')).events.find(({ type }) => type === 'cell').why;
  expect(why).toBe('code of ./write.mjs changed; option deep.x: 1 → 2; input data changed: 3 of 61 files; env MODE: set → not set');
  // After the run, it still reports the reason.
  const after = await p.run('explain', 'w', '-p', 'x=2');
  expect(after.stdout).toContain(`in run 2, it ran: ${why}\n`);
  expect(compared(after.stdout)).toBe(compared(explained.stdout));
});

test('a result that another pipeline made is compared, too', async () => {
  const p = project({
    'p.yaml': PIPELINE,
    'q.yaml': `name: q\n${PIPELINE}`,
    'write.mjs': STEP("await writeFile(outputs.o, 'x');"),
    ...many(),
  });
  await p.states('p.yaml');
  await p.states('q.yaml');
  expect((await p.run('explain', 'q.yaml', 'w', '-p', 'a=2')).stdout).toMatch(/^w must run: option a: 1 → 2\n/);
});

test('an input in which only an empty folder is new', async () => {
  const p = project({
    'p.yaml': 'steps: { a: { run: "ls > ${{ outputs.o }}", inputs: { d: data }, outputs: { o: o.txt } } }',
    'data/x': '',
  });
  await p.run('run', 'p.yaml');
  mkdirSync(p.path('data/new'));
  expect((await p.run('status', 'p.yaml')).stdout).toContain('empty folders of input d changed');
});

test('a changed command is shown by line; a failed cell, and one that depends on another', async () => {
  const p = project({
    'p.yaml': `steps:
  a: { run: ["echo 1", "echo 2 > \${{ outputs.o }}", "echo 3"], outputs: { o: a.txt } }
  b: { run: "cat \${{ steps.a.o }}" }
`,
  });
  await p.states('p.yaml');
  p.write('p.yaml', p.read('p.yaml').replace('"echo 3"', '"echo 3; exit 4"'));
  await p.states('p.yaml');
  const { stdout } = await p.run('explain', 'a');
  expect(stdout).toMatch(/^a must run: command changed\nin run 2, it failed: exited with 4\n/);
  expect(compared(stdout)).toBe(
    '  command changed\n    @@ -1,3 +1,3 @@\n     echo 1\n     echo 2 > a.txt\n    -echo 3\n    +echo 3; exit 4\n',
  );
  expect((await p.run('explain', 'b')).stdout).toBe(
    'b is undecided until the cells that it depends on have run: a must run first\nin run 2, it was skipped: a failed\n',
  );
});

test('a run works without a git repository and without git', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo" } }' });
  p.env.PATH = '/nowhere';
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  expect((await p.run('runs', 'show')).stdout).toMatch(/^commit +not known$/m);
});
