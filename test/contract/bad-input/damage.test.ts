/** A damaged cache, a full disk, a step with a bug: the screen, and that no data is lost. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { failure, type Project, refusalIn, STACK } from './rig.ts';

const ONE = `steps:
  a: { run: "cat in.txt > \${{ outputs.o }}", inputs: { data: in.txt }, outputs: { o: out/o.txt } }
`;
const FILES = { 'p.yaml': ONE, 'in.txt': 'some text\n' };

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

test.each(['index.sqlite', 'state.sqlite'])('%s that is no SQLite file', async (name) => {
  const p = project(FILES);
  await p.states('p.yaml');
  for (const side of ['-wal', '-shm']) rmSync(p.path(`.tunesmith/${name}${side}`), { force: true });
  writeFileSync(p.path(`.tunesmith/${name}`), 'not a database, but text that is long enough to be taken for one'.repeat(100));
  const screens = [];
  for (const command of ['run', 'status']) {
    const before = p.read(`.tunesmith/${name}`);
    const { code, screen } = await p.run(command, 'p.yaml');
    screens.push(`$ ${command} → ${code}\n${screen}`);
    expect(screen).not.toMatch(STACK);
    expect(p.read(`.tunesmith/${name}`)).toBe(before);
  }
  expect(`\n${screens.join('')}`).toMatchSnapshot();
});

/** A disk without space for the bytes of a result, where they are stored and where they are restored. */
function fullDisk(p: Project): void {
  p.write(
    'full.mjs',
    `import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
for (const name of ['openSync', 'writeFileSync']) {
  const real = fs[name];
  fs[name] = (path, ...rest) => {
    if (!/\\.tunesmith-/.test(path) || rest[0] === 'r') return real(path, ...rest);
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
  };
}
syncBuiltinESMExports();
`,
  );
  p.env.NODE_OPTIONS = `--import=file://${p.path('full.mjs')}`;
}

const steady = (screen: string) => screen.replace(/[\d.]+ (GB|MB|KB|kB|B|bytes)/g, '<size>').replace(/kept\/[\dT-]+/, 'kept/<moment>');

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

test('the disk is full when a result is restored: the edited file is saved and reported', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  p.write('out/o.txt', 'edited\n');
  fullDisk(p);
  expect(steady(await failure(p))).toMatchInlineSnapshot(`
    "
    a: failed after <time>: disk full while restoring <project>/out/o.txt: <size> needed, <size> free at <project>/out
      Free space and run again. No data was lost, and no partial files are left. \`tunesmith gc --failed\` removes the outputs of failed cells.
      log: .tunesmith/logs/2/a.log
    p: 1 failed · <time>
      failed: a

    note: a: tunesmith did not write out/o.txt, so it was saved as .tunesmith/kept/<moment>/out/o.txt
    "
  `);
  expect(p.find('.tunesmith/kept').map((file) => p.read(file))).toEqual(['edited\n']);
});

test('a damaged index that is detected while storing: after it is moved away, the result is stored', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  const index = new Sqlite(p.path('.tunesmith/index.sqlite'));
  index.exec(`create trigger damage before insert on results begin select raise(abort, 'database disk image is malformed'); end`);
  index.close();
  p.write('in.txt', 'other text\n');
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  const said = screen.replace(/\s+/g, ' ');
  expect(code, screen).toBe(1);
  expect(said).toContain('is damaged (database disk image is malformed)');
  expect(said).toContain(
    'Move it away and run again; the next run creates a new index and keeps stored objects. The outputs of the cell are in .tunesmith/failed.',
  );
  expect(said).not.toContain('Free space');
  for (const name of p.find('.tunesmith').filter((name) => name.includes('index.sqlite'))) p.remove(name);
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

test("a custom step with a bug: the message has the position in the user's files, the log the whole stack", async () => {
  const p = project({
    'p.yaml': 'steps:\n  own: { uses: ./steps/own.ts }\n  caused: { uses: ./caused.cjs }\n  told: { uses: ./told.ts }\n',
    'steps/own.ts': STEP('count([] as never);').replace('export', "import { count } from './count.ts';\nexport"),
    'steps/count.ts': `interface Row {\n  text: string;\n}\n\nexport function count(rows: Row[]): number {\n  return rows[0].text.length;\n}\n`,
    'caused.cjs': `module.exports = { name: 'own', version: 1, outputs: { o: 'file' }, async run() {
  await new Promise((resolve) => setTimeout(resolve, 1));
  throw new RangeError('no answer', { cause: new Error('refused') });
} };\n`,
    'told.ts': STEP("throw new StepError('no rows', 'Give some.');"),
  });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain', '-j', '1', '--on-failure', 'continue');
  expect(code).toBe(1);
  expect(screen).toMatchInlineSnapshot(`
    "own: running (first run)
    own: failed after <time>: TypeError: Cannot read properties of undefined (reading 'text')
      at count (steps/count.ts:6:18)
      at run (steps/own.ts:6:73)
      log: .tunesmith/logs/1/own.log
    caused: running (first run)
    caused: failed after <time>: RangeError: no answer
      at run (caused.cjs:3:9)
      caused by refused
      log: .tunesmith/logs/1/caused.log
    told: running (first run)
    told: failed after <time>: no rows
      Give some.
      log: .tunesmith/logs/1/told.log
    p: 3 failed · <time>
      failed: own, caused, told
    "
  `);
  expect(p.read('.tunesmith/logs/1/own.log')).toMatch(/at .*own\.ts:6:.*\n.*step-process\.js/);
  expect(p.exists('.tunesmith/outputs/p/own/o')).toBe(false);
  const { events } = await p.run('run', 'p.yaml', '--json', '--only', 'own');
  const { failure } = events.find((event) => event.type === 'cell');
  expect(failure.stack).toEqual([
    { name: 'count', file: p.path('steps/count.ts'), line: 6, column: expect.any(Number) },
    { name: 'run', file: p.path('steps/own.ts'), line: 6, column: expect.any(Number) },
  ]);
});

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
