/** `run --watch`, for a user who edits files. */
import { expect, test } from 'vitest';
import { type Project, project, type Started } from '../../rig.ts';

const events = (watching: Started): any[] =>
  watching
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
const of = (watching: Started, type: string) => events(watching).filter((event) => event.type === type);
const ends = (watching: Started) => of(watching, 'summary').map(({ cells }) => cells);

/** Waits until the watch has been idle that many times. */
const rests = (p: Project, watching: Started, times: number) => p.until(() => of(watching, 'watching').length === times, 60);
const settle = () => new Promise((resolve) => setTimeout(resolve, 1000));

const YAML = (word: string) => `
params: { n: 1 }
steps:
  a: { run: "cat in/*.txt > a.txt; echo ${word} \${{ params.n }} >> a.txt", inputs: { i: "in/*.txt", f: folder }, outputs: { o: a.txt } }
  b: { uses: ./own.mjs, with: { i: "\${{ steps.a.o }}" } }
`;
const STEP = (text: string) => `import { text } from './text.mjs';
import { writeFileSync } from 'node:fs';
export default { name: 'own', version: 1, inputs: { i: 'file' }, outputs: { o: 'file' }, run: ({ outputs }) => writeFileSync(outputs.o, text + '${text}') };
`;

test('the pipeline, an input, a new file, parameters and code of a step each cause one run', async () => {
  const p = project({
    'p.yaml': YAML('one'),
    'params.yaml': 'n: 2\n',
    'in/x.txt': 'x\n',
    'folder/deep/y': 'y',
    'own.mjs': STEP('1'),
    'text.mjs': "export const text = 'text';\n",
  });
  const watching = p.start('run', 'p.yaml', '--watch', '--json', '--params', 'params.yaml');
  await rests(p, watching, 1);
  let times = 1;
  const next = async (path: string, content: string, cells: Record<string, string>) => {
    p.write(path, content);
    await rests(p, watching, ++times);
    expect(ends(watching).at(-1), path).toEqual(cells);
    expect(of(watching, 'changed').at(-1).path, path).toBe(p.path(path));
  };
  await next('p.yaml', YAML('two'), { a: 'ran', b: 'ran' });
  await next('in/x.txt', 'other\n', { a: 'ran', b: 'ran' });
  await next('in/z.txt', 'new\n', { a: 'ran', b: 'ran' });
  await next('folder/deep/y', 'yy', { a: 'ran', b: 'fresh' });
  await next('params.yaml', 'n: 3\n', { a: 'ran', b: 'ran' });
  await next('own.mjs', STEP('2'), { a: 'fresh', b: 'ran' });
  await next('text.mjs', "export const text = 'other';\n", { a: 'fresh', b: 'ran' });
  // Outputs and files that nobody reads cause no run.
  p.write('unread.txt', '');
  await settle();
  expect(ends(watching)).toHaveLength(times);
  watching.kill('SIGINT');
  expect((await watching.done).code).toBe(0);
});

test('changes during a run cause exactly one more run', async () => {
  const p = project({
    'p.yaml':
      'steps: { a: { run: "echo x >> begun; while ! test -e go; do sleep 0.05; done; cat in.txt > a.txt", inputs: { i: in.txt }, outputs: { o: a.txt } } }\n',
    'in.txt': '1\n',
  });
  const watching = p.start('run', 'p.yaml', '--watch', '--json');
  await p.until(() => p.exists('begun'));
  for (const n of [2, 3, 4]) {
    p.write('in.txt', `${n}\n`);
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  p.write('go', '');
  await rests(p, watching, 2);
  await settle();
  expect(p.read('begun')).toBe('x\nx\n');
  expect(p.read('a.txt')).toBe('4\n');
  expect(of(watching, 'watching')).toHaveLength(2);
  watching.kill('SIGTERM');
  expect((await watching.done).code).toBe(0);
});

test('errors and failures are reported, and fixes are detected', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { rum: cat in.txt, inputs: { i: in.txt } } }\n' });
  const watching = p.start('run', 'p.yaml', '--watch', '--json');
  await rests(p, watching, 1);
  expect(of(watching, 'error').map(({ message }) => message.split('\n')[0])).toContain('unknown key "rum"');
  p.write('p.yaml', 'steps: { a: { run: cat in.txt; test -e good, inputs: { i: in.txt } } }\n');
  await rests(p, watching, 2);
  expect(of(watching, 'error').at(-1).message).toContain('there is no file or folder in.txt');
  p.write('in.txt', '');
  await rests(p, watching, 3);
  expect(ends(watching)).toEqual([{ a: 'failed' }]);
  p.write('good', '');
  p.write('in.txt', 'again');
  await rests(p, watching, 4);
  expect(ends(watching).at(-1)).toEqual({ a: 'ran' });
  watching.kill('SIGINT');
  expect((await watching.done).code).toBe(0);
});

test('Ctrl-C during a run ends the run cleanly, and the watch', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo > begun; sleep 60" } }\n' });
  const watching = p.start('run', 'p.yaml', '--watch');
  await p.until(() => p.exists('begun'));
  watching.kill('SIGINT');
  const { code, screen } = await watching.done;
  expect(code).toBe(130);
  expect(screen).toContain('canceled: a');
  expect(screen).not.toContain('watching');
});
