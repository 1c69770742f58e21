/** Steps in child processes: their context, messages, failures and records. */
import { expect, test } from 'vitest';
import { lastLog, pastRuns, runDetails as recordOf } from '../../../engine/run/records.ts';
import { engine } from './rig.ts';

const WRITE = `import { writeFileSync } from 'node:fs';
import { defineStep } from 'tunesmith';
import { text } from './text.mjs';
export default defineStep({
  name: 'write', version: 1,
  options: { word: { type: 'string', default: 'hello' }, deep: { type: 'object', default: { a: 1, b: 2 } } },
  inputs: { files: { kind: 'file', many: true, optional: true } },
  outputs: { o: 'file' },
  run(context) {
    const { signal, log, warn, progress, metric, outputs, ...given } = context;
    log('a line'); metric('loss', 0.5, 1); metric('loss', 0.25, 2); metric('f1', 0.9); progress(1, 2, { loss: 0.5 }); progress(2, 2);
    console.log('chatter of a library');
    writeFileSync(outputs.o, text(given.options.word) + JSON.stringify(given));
  },
});`;
const TEXT = 'export const text = (word) => word + "\\n";';
const PIPELINE = `
name: p
params: { word: hello, deep: { a: 1, b: 2 } }
steps:
  make: { matrix: { x: [2, 1] }, run: "echo \${{ matrix.x }} > \${{ outputs.o }}", outputs: { o: "m\${{ matrix.x }}.txt" } }
  write: { uses: ./write.mjs, with: { word: "\${{ params.word }}", deep: "\${{ params.deep }}", files: "\${{ steps.make[*].o }}" } }
`;
const FILES = { 'write.mjs': WRITE, 'text.mjs': TEXT };
const OUTPUT = '.tunesmith/outputs/p/write/o';

test('a step receives its options, paths and origins, and its messages become events', async () => {
  const p = engine(PIPELINE, FILES);
  const run = await p.go();
  expect(run.states.write).toBe('ran');
  const [word, given] = p.read(OUTPUT).split('\n');
  expect(word).toBe('hello');
  expect(JSON.parse(given!)).toEqual({
    module: { path: p.path('write.mjs') },
    addresses: {},
    names: { [p.path('m1.txt')]: 'o {"x":1}', [p.path('m2.txt')]: 'o {"x":2}' },
    repositories: {},
    leftOut: [],
    options: { word: 'hello', deep: { a: 1, b: 2 } },
    inputs: { files: [p.path('m1.txt'), p.path('m2.txt')] },
    origins: {
      files: [
        { cell: 'make[x=1]', matrix: { x: 1 } },
        { cell: 'make[x=2]', matrix: { x: 2 } },
      ],
    },
    checkpoints: expect.stringMatching(new RegExp(`^${p.path('.tunesmith/checkpoints')}/[0-9a-f]{64}$`)),
    folder: p.folder,
    cell: { cell: 'write', matrix: {} },
    seed: expect.any(Number),
    threads: 1,
  });
  expect(run.lines).toEqual(['a line']);
  expect(p.read('.tunesmith/logs/1/write.log').split('\n').sort()).toEqual(['', 'a line', 'chatter of a library']);
  expect(run.of('progress').at(-1)).toMatchObject({ done: 2, total: 2 });
  expect(run.of('metric').map(({ name, value, step }) => [name, value, step])).toEqual([
    ['loss', 0.5, 1],
    ['loss', 0.25, 2],
    ['f1', 0.9, undefined],
  ]);

  const [last] = pastRuns(p.folder);
  expect(last).toMatchObject({ id: 1, pipeline: 'p.yaml', counts: { ran: 3, fresh: 0, failed: 0 } });
  expect(recordOf(p.folder, 1)!.metrics).toContainEqual({ cell: 'write', name: 'f1', value: 0.9, step: undefined });
  expect(lastLog({ root: p.folder, file: p.path('p.yaml') }, 'write')).toBe(p.path('.tunesmith/logs/1/write.log'));
});

test('changes are reported: options by value, code, and input files', async () => {
  const p = engine(PIPELINE, FILES);
  await p.go();
  expect((await p.go()).states.write).toBe('fresh');
  expect((await p.plan({ set: ['word=bye', 'deep.b=3'] })).write!.why).toBe('option word: hello → bye; option deep.b: 2 → 3');
  // The code is read once per process.
  const why = async () => (await p.run('status', 'p.yaml', '--json')).events.at(-1).cells.write.why;
  p.write('text.mjs', `${TEXT} // edited`);
  expect(await why()).toBe('code of ./write.mjs changed');
  expect((await p.run('explain', 'write')).stdout).toMatch(/code of .\/write.mjs changed\n\s+changed {2}text.mjs/);
  p.write('text.mjs', TEXT);
  p.write('write.mjs', WRITE.replace('version: 1', 'version: 2'));
  expect(await why()).toBe('version of write: 1 → 2; code of ./write.mjs changed');
});

test('code that changes while it runs: the result is used but not stored', async () => {
  const p = engine('steps: { a: { uses: ./slow.mjs } }', {
    'slow.mjs': `import './part.mjs'; import { appendFileSync, writeFileSync } from 'node:fs';
      export default { name: 's', version: 1, outputs: { o: 'file' }, run({ folder, outputs }) {
        appendFileSync(folder + '/part.mjs', ' // more'); writeFileSync(outputs.o, ''); } };`,
    'part.mjs': '',
  });
  const run = await p.go();
  expect(run.notices).toEqual(['part.mjs changed while a ran, so its result was not stored; the next run executes it again']);
});

test("a StepError is printed with its hint; another error with its name and position in the user's file", async () => {
  const step = (body: string) =>
    `export default { name: 's', version: 1, outputs: { o: 'folder' }, async run({ outputs, signal }) { ${body} } };`;
  const p = engine(
    `
steps:
  told: { uses: ./told.mjs }
  bug: { uses: ./bug.mjs }
  later: { uses: ./later.mjs }
  exit: { uses: ./exit.mjs }
  half: { uses: ./half.mjs }
  several: { uses: ./several.mjs }
`,
    {
      'told.mjs': `import { StepError } from 'tunesmith'; ${step("throw new StepError('no column label', 'name one of text, spam')")}`,
      'bug.mjs': step('null.x'),
      'later.mjs': step("setTimeout(() => { throw new Error('later') }, 10); await new Promise((r) => setTimeout(r, 5000))"),
      'exit.mjs': step('process.exit(0)'),
      'several.mjs': step("await Promise.any([Promise.reject(new TypeError('one')), Promise.reject('two')])"),
      'half.mjs': `import { mkdirSync, writeFileSync } from 'node:fs'; ${step("mkdirSync(outputs.o); writeFileSync(outputs.o + '/part', '1'); throw new Error('half')")}`,
    },
  );
  const { failures } = await p.go({ onFailure: 'continue' });
  expect(failures.told).toMatchObject({ message: 'no column label', hint: 'name one of text, spam', tail: [] });
  expect(failures.bug).toMatchObject({
    message: "TypeError: Cannot read properties of null (reading 'x')",
    stack: [{ name: 'run', file: p.path('bug.mjs'), line: 1, column: expect.any(Number) }],
    tail: [],
  });
  expect(failures.told!.stack).toBeUndefined();
  expect(p.read('.tunesmith/logs/1/bug.log')).toMatch(/TypeError: Cannot read.*\n\s+at /);
  expect(failures.later!.message).toBe('later');
  expect(failures.several).toMatchObject({
    message: 'AggregateError: All promises were rejected',
    hint: 'caused by TypeError: one\ncaused by two',
  });
  expect(failures.exit!.message).toBe('ended its process before it was done');
  expect(p.find('.tunesmith/failed')).toEqual(['.tunesmith/failed/half/o/part']);
  expect(p.find('.tunesmith/outputs')).toEqual([]);
});

test('a step whose promise can never settle fails with that reason, also if it has made its outputs', async () => {
  const step = (body: string) => `import { mkdirSync } from 'node:fs'; import { setTimeout as sleep } from 'node:timers/promises';
    export default { name: 's', version: 1, outputs: { o: 'folder' }, async run({ outputs, log, signal }) { mkdirSync(outputs.o); ${body} } };`;
  const never = 'await new Promise(() => {});';
  const p = engine(
    `
steps:
  never: { uses: ./never.mjs }
  later: { uses: ./later.mjs }
  again: { uses: ./again.mjs, retry: 1 }
  slow: { uses: ./slow.mjs }
  thread: { uses: ./thread.mjs }
  top: { uses: ./lazy.mjs }
`,
    {
      'never.mjs': step(never),
      'later.mjs': step(
        `await sleep(50); log('half'); process.on('message', () => {}); signal.addEventListener('abort', () => {}); ${never}`,
      ),
      'again.mjs': step(`log('once'); ${never}`),
      'slow.mjs': step('await sleep(300);'),
      'thread.mjs': `import { Worker } from 'node:worker_threads'; ${step(`
        const worker = new Worker("require('node:worker_threads').parentPort.once('message', (n) => setTimeout(() => require('node:worker_threads').parentPort.postMessage(n + 1), 100))", { eval: true });
        worker.postMessage(1); await new Promise((resolve) => worker.once('message', resolve));`)}`,
      'lazy.mjs': step("await import('./top.mjs');"),
      'top.mjs': never,
    },
  );
  const { failures, states, lines } = await p.go({ onFailure: 'continue' });
  const message = "the step's promise never settled: nothing is left running that could settle it";
  const hint = 'Call resolve or reject in every case, also if a callback gets an error or an event does not occur.';
  for (const cell of ['never', 'later', 'again', 'top']) expect(failures[cell], cell).toMatchObject({ message, hint });
  expect(states).toMatchObject({ slow: 'ran', thread: 'ran' });
  expect(lines.sort()).toEqual(['half', 'once', 'once']);
});

test('a step with a top-level await that never settles is refused before the run', async () => {
  const p = engine('steps: { a: { uses: ./a.mjs } }', { 'a.mjs': 'await new Promise(() => {}); export default {};' });
  const { code, stderr } = await p.run('validate', 'p.yaml');
  expect(code).toBe(2);
  expect(stderr).toContain('it awaits a promise at its top level that never settles');
});

test('a step that ends its process or closes its channel is reported as that', async () => {
  const step = (body: string) =>
    `export default { name: 's', version: 1, outputs: {}, async run() { ${body}; await new Promise((done) => setTimeout(done, 5000)); } };`;
  const p = engine('steps: { a: { uses: ./a.mjs }, b: { uses: ./b.mjs } }', {
    'a.mjs': step('process.disconnect()'),
    'b.mjs': step('process.exit()'),
  });
  const { failures } = await p.go({ onFailure: 'continue' });
  for (const { message, hint } of Object.values(failures))
    expect([message, hint]).toEqual([
      'ended its process before it was done',
      'return from `run` instead of calling process.exit() or process.disconnect()',
    ]);
  expect(Object.keys(failures).sort()).toEqual(['a', 'b']);
});

test('any thrown value is reported', async () => {
  const thrown = {
    text: `'just a text'`,
    nothing: 'undefined',
    map: '{ code: 7, parts: [1, 2] }',
    empty: 'new RangeError()',
    fields: `Object.assign(new Error('odd'), { hint: 5, option: 7 })`,
  };
  const steps = Object.keys(thrown).map((name) => `  ${name}: { uses: ./${name}.mjs }`);
  const files = Object.entries(thrown).map(([name, value]) => [
    `${name}.mjs`,
    `export default { name: 's', version: 1, outputs: { o: 'folder' }, async run() { throw ${value}; } };`,
  ]);
  const p = engine(`steps:\n${steps.join('\n')}\n`, Object.fromEntries(files));
  const { failures } = await p.go({ onFailure: 'continue' });
  expect(Object.fromEntries(Object.entries(failures).map(([name, { message, hint }]) => [name, [message, hint]]))).toEqual({
    text: ['just a text', undefined],
    nothing: ['threw undefined', undefined],
    map: ['threw { code: 7, parts: [ 1, 2 ] }', undefined],
    empty: ['RangeError without a message', undefined],
    fields: ['odd', undefined],
  });
});

test('Ctrl-C aborts the signal of a step, which may clean up', async () => {
  const p = engine('steps: { a: { uses: ./wait.mjs } }', {
    'wait.mjs': `import { writeFileSync } from 'node:fs';
      export default { name: 's', version: 1, outputs: {}, run: ({ signal, folder }) => new Promise((resolve) => {
        const alive = setInterval(() => {}, 100);
        signal.addEventListener('abort', () => { writeFileSync(folder + '/cleaned', ''); clearInterval(alive); resolve(); });
        writeFileSync(folder + '/begun', '');
      }) };`,
  });
  const stop = new AbortController();
  const going = p.go({ signal: stop.signal });
  await p.until(() => p.exists('begun'));
  stop.abort();
  expect((await going).states).toEqual({ a: 'canceled' });
  expect(p.exists('cleaned')).toBe(true);
});
