/** Steps with unexpected messages: the engine continues, valid metrics are recorded, invalid ones are reported. */
import { expect, test } from 'vitest';
import { checkedMessage } from '../../../engine/run/process/process-reuse.ts';
import { project } from '../../rig.ts';

test('whatever a step sends, other cells run, and its own cell ends', async () => {
  const p = project({
    'odd.mjs': `import { writeFileSync } from 'node:fs';
export default { name: 'odd', version: 1, options: { n: { type: 'number' } }, outputs: { o: 'file' }, async run({ metric, progress, log, warn, result, options, outputs }) {
  const all = [
    () => { metric('a', { x: 1 }); metric({ y: 1 }, 1); metric('b', '0.5'); metric('c', 1, { z: 1 }); metric(undefined, undefined); metric('good', 2); metric('nan', NaN); metric('inf', Infinity); metric('low', -Infinity); metric('list', [Infinity]); },
    () => { progress('x', {}, 7); progress(1, 2, { a: { b: 1 }, c: null, d: 3 }); log(undefined); warn({}); result(['x']); },
    () => { for (const said of [null, 'x', [1], {}, { type: 'metric' }, { type: 'progress', values: null }, { type: 'log' }, { type: 'cell', state: 'ran' }]) process.send(said); },
    () => process.send({ type: 'error', message: 5, hint: 7, option: 'x', frames: [{}] }),
  ];
  all[options.n]();
  await new Promise((done) => setTimeout(done, 1200));
  writeFileSync(outputs.o, 'x');
} };`,
    'p.yaml': `
steps:
  odd: { uses: ./odd.mjs, matrix: { n: [0, 1, 2, 3] }, with: { n: "\${{ matrix.n }}" } }
  other: { run: "sleep 2; echo 1 > \${{ outputs.o }}", outputs: { o: o.txt } }
`,
  });
  const { cells, events } = await p.states('p.yaml', '--on-failure', 'continue', '-j', '5');
  expect(cells).toEqual({ 'odd[n=0]': 'ran', 'odd[n=1]': 'ran', 'odd[n=2]': 'ran', 'odd[n=3]': 'ran', other: 'ran' });
  const metrics = events.filter(({ type, cell }) => type === 'metric' && cell === 'odd[n=0]').map(({ name, value }) => [name, value]);
  expect(metrics).toEqual([
    ['good', 2],
    ['nan', null],
    ['inf', 'Infinity'],
    ['low', '-Infinity'],
  ]);
  const recorded = (await p.run('runs', 'show', '--json')).events[0].metrics;
  expect(recorded.filter(({ cell }: { cell: string }) => cell === 'odd[n=0]').map(({ value }: { value: unknown }) => value)).toEqual([
    2,
    null,
    'Infinity',
    '-Infinity',
  ]);
  expect((await p.run('run', 'p.yaml', '--plain')).screen).toMatch(/\n0 +2 +n\/a +Infinity +-Infinity\n/);
  const notices = events.filter(({ type, cell }) => type === 'notice' && cell === 'odd[n=0]').map(({ message }) => message);
  expect(notices).toContain('ignored the metric a = {"x":1}: a metric needs a name and a number');
  expect(notices).toHaveLength(6);
});

test('messages match the contract or are ignored', () => {
  expect(checkedMessage({ type: 'progress', done: 1, total: Number.NaN, values: { a: 1, b: 'x', c: {} } })).toEqual({
    type: 'progress',
    done: 1,
    values: { a: 1, b: 'x' },
  });
  expect(checkedMessage({ type: 'metric', name: 'loss', value: null })).toEqual({ type: 'metric', name: 'loss', value: Number.NaN });
  expect(checkedMessage({ type: 'metric', name: 'loss', value: 1, step: 3, cell: 'another' })).toEqual({
    type: 'metric',
    name: 'loss',
    value: 1,
    step: 3,
  });
  expect(checkedMessage({ type: 'metric', name: 'mape', value: 1, better: 'lower' })).toEqual({
    type: 'metric',
    name: 'mape',
    value: 1,
    better: 'lower',
  });
  expect(checkedMessage({ type: 'metric', name: 'mape', value: 1, better: 'down' })).toEqual({
    type: 'warn',
    message: 'ignored the metric mape: `better` is "higher" or "lower", not "down"',
  });
  const interval = { type: 'metric', name: 'f1', value: 0.9, low: 0.8, high: 0.95 };
  expect(checkedMessage(interval)).toEqual(interval);
  expect(checkedMessage({ ...interval, low: null, high: null })).toEqual({ type: 'metric', name: 'f1', value: 0.9 });
  for (const [low, high] of [
    [0.95, 0.8],
    [0.8, null],
    ['0.8', 0.9],
  ])
    expect(checkedMessage({ ...interval, low, high })).toEqual({
      type: 'warn',
      message: `ignored the metric f1: \`low\` and \`high\` are two numbers in this order, not ${JSON.stringify(low)} and ${JSON.stringify(high)}`,
    });
  expect(checkedMessage({ type: 'error', message: 'no', hint: 'h', option: ['a'] })).toEqual({
    type: 'error',
    message: 'no',
    hint: 'h',
    option: ['a'],
  });
  for (const said of [null, undefined, 1, 'x', [], {}, { type: 'cell' }, { type: 'progress', done: 'x' }])
    expect(checkedMessage(said)).toBeUndefined();
});
