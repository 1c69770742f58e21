/** A damaged cache, a full disk, a step with a bug: the screen, and that no data is lost. */
import { chmodSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { FILES, fullDisk, steady } from './full-disk.ts';
import { failure, refusalIn } from './rig.ts';

test('a corrupted object: its cell runs again and reports why', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const [object] = p.find('.tunesmith/objects');
  chmodSync(p.path(object!), 0o644);
  writeFileSync(p.path(object!), 'SOME TEXT\n');
  p.remove('out');
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code).toBe(0);
  expect(`\n${run.screen}`).toMatchInlineSnapshot(`
    "
    a: running (its stored result is damaged)
    a: ran in <time>
    p: 1 ran · <time>

    output: out/o.txt
    "
  `);
  expect(p.read('out/o.txt')).toBe('some text\n');
});

test('the disk is full when a result is stored: the former output returns, the new one is saved', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  p.write('in.txt', 'other text\n');
  fullDisk(p);
  expect(steady(await failure(p))).toMatchInlineSnapshot(`
    "
    a: running (input data changed)
    a: failed after <time>: disk full while storing <project>/out/o.txt: <size> needed, <size> free at <project>/.tunesmith
      Free space and run again. The outputs of the cell are in .tunesmith/failed. The next run stores them without running the cell.
      log: .tunesmith/logs/2/a.log
    p: 1 failed · <time>
      failed: a
    "
  `);
  expect(p.read('out/o.txt')).toBe('some text\n');
  // A file beside the output identifies its result. The next run with space stores it without running the step again.
  expect(p.find('.tunesmith/failed').map((file) => p.read(file))).toEqual([expect.stringMatching(/^\{"fingerprint":"/), 'other text\n']);
  p.env.NODE_OPTIONS = undefined;
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'restored' });
  expect([p.read('out/o.txt'), p.find('.tunesmith/failed')]).toEqual(['other text\n', []]);
});

const STEP = (body: string) => `import { writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';
export default defineStep({
  name: 'own', version: 1, options: { rate: { type: 'number', default: 1 } }, outputs: { o: 'file' },
  async run({ options, outputs }) { await writeFile(outputs.o, 'half'); ${body} },
});
`;

test('a step that refuses an option: the caret points at it', async () => {
  const p = project({
    'p.yaml': 'steps:\n  own:\n    uses: ./own.ts\n    with:\n      rate: 2\n',
    'own.ts': STEP("throw new StepError('2 is too much', 'Give 1.', ['rate']);"),
  });
  expect(await failure(p)).toMatchInlineSnapshot(`
    "
    own: running (first run)
    own: failed after <time>: 2 is too much
      p.yaml:5:13
      5 |       rate: 2
        |             ^
      Give 1.
      log: .tunesmith/logs/1/own.log
    p: 1 failed · <time>
      failed: own
    "
  `);
});

test('a step that is not a module, and one without declarations', async () => {
  const p = project({
    'p.yaml': 'steps:\n  a: { uses: ./syntax.ts }\n  b: { uses: ./none.ts }\n  c: { uses: ./missing-import.ts }\n',
    'syntax.ts': 'export default defineStep({\n',
    'none.ts': 'export const x = 1;\n',
    'missing-import.ts': "import { nothing } from './nowhere.ts';\nexport default nothing;\n",
  });
  expect(await refusalIn(p, 'run', 'p.yaml')).toMatchInlineSnapshot(`
    "
    p.yaml:2:14: error: ./syntax.ts: line 2, column 1: Expected identifier but found end of file
      2 |   a: { uses: ./syntax.ts }
        |              ^^^^^^^^^^^

    p.yaml:3:14: error: ./none.ts: none.ts has no default export
      3 |   b: { uses: ./none.ts }
        |              ^^^^^^^^^
      = Write \`export default defineStep({ … })\`.

    p.yaml:4:14: error: ./missing-import.ts: line 1, column 25: Could not resolve "./nowhere.ts"
      4 |   c: { uses: ./missing-import.ts }
        |              ^^^^^^^^^^^^^^^^^^^
    "
  `);
});
