/** Scheduling: resources, critical path, retries, and steps that do not run. Uses the command line. */
import { chmodSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { memoryLimit } from '../../../engine/contract/memory-limit.ts';
import { Pool } from '../../../engine/run/scheduler.ts';
import { type Project, project } from '../../rig.ts';

/** Records the start and end of each cell and its environment; `+name` and `-name` in order. */
const TOLD = 'echo "+$n $CUDA_VISIBLE_DEVICES" >> told; sleep 0.4; echo "-$n" >> told';

/** The same, but it ends only after a second cell has started. */
const TOLD_BESIDE = TOLD.replace('sleep 0.4', 'until [ "$(grep -c + told)" -ge 2 ]; do sleep 0.05; done; sleep 0.4');

const lines = (p: Project) => p.read('told').trim().split('\n');

/** The maximum number of cells that ran at the same time. */
function atOnce(told: string[]): number {
  let [now, most] = [0, 0];
  for (const line of told) {
    now += line.startsWith('+') ? 1 : -1;
    most = Math.max(most, now);
  }
  return most;
}

test('a cell that asks for more than the machine has is refused before the run', async () => {
  const p = project(
    {
      'p.yaml': `
steps:
  first: { run: echo > first.txt, outputs: { o: first.txt } }
  big:
    matrix: { x: [1, 2] }
    run: echo
    resources:
      cpu: 100000
      gpu: 1
      memory: 900TB
`,
    },
    { TUNESMITH_GPUS: '0' },
  );
  const { code, screen } = await p.run('run', 'p.yaml');
  expect(code).toBe(2);
  expect(screen.replace(/has [\d,.]+ (cores?|GB)/g, 'has <n> $1')).toMatchInlineSnapshot(`
    "p.yaml:8:12: error: big[x=1] asks for 100,000 cores, but this machine has <n> cores
      8 |       cpu: 100000
        |            ^^^^^^
      = Ask for fewer.

    p.yaml:9:12: error: big[x=1] asks for 1 GPU, but this machine has none
      9 |       gpu: 1
        |            ^
      = \`tunesmith doctor\` lists the GPUs.

    p.yaml:10:15: error: big[x=1] asks for 900000.0 GB of memory, but this machine has <n> GB of memory
      10 |       memory: 900TB
         |               ^^^^^
      = Ask for less.
    "
  `);
  expect(p.exists('first.txt')).toBe(false);
  expect((await p.run('validate', 'p.yaml')).code, 'another machine may have it').toBe(0);
});

test('a result is restored on a machine without the resources that made it', async () => {
  const yaml = `steps: { a: { run: 'echo > a.txt', outputs: { o: a.txt }, resources: { gpu: 1 } } }\n`;
  const p = project({ 'p.yaml': yaml }, { TUNESMITH_GPUS: '1' });
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
  p.remove('a.txt');
  p.env.TUNESMITH_GPUS = '0';
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'restored' });
  expect((await p.run('run', 'p.yaml', '--force')).screen).toContain('a asks for 1 GPU, but this machine has none');
});

test('each GPU is used by one cell at a time, by index; a cell that asks for none sees none', async () => {
  const p = project(
    {
      'p.yaml': `
steps:
  g: { matrix: { n: [1, 2, 3, 4] }, run: '${TOLD_BESIDE}', env: { n: "\${{ matrix.n }}" }, resources: { gpu: 1 } }
  two: { run: '${TOLD}', env: { n: two }, resources: { gpu: 2 }, needs: g }
  none: { run: 'echo "none:$CUDA_VISIBLE_DEVICES." > none.txt', resources: { gpu: 0 } }
  unsaid: { run: 'echo "unsaid:\${CUDA_VISIBLE_DEVICES-unset}." > unsaid.txt' }
`,
    },
    { TUNESMITH_GPUS: '2', CUDA_VISIBLE_DEVICES: undefined },
  );
  expect((await p.run('run', 'p.yaml', '-j', '5')).code).toBe(0);
  const told = lines(p);
  expect(
    told
      .filter((line) => line.startsWith('+'))
      .map((line) => line.split(' ')[1])
      .sort(),
  ).toEqual(['0', '0', '0,1', '1', '1']);
  expect(atOnce(told)).toBe(2);
  const held = new Map<string, string>();
  for (const line of told) {
    const [name, gpu] = [line.slice(1).split(' ')[0]!, line.split(' ')[1]];
    if (gpu === undefined) held.delete(name);
    else {
      expect([...held.values()]).not.toContain(gpu);
      held.set(name, gpu);
    }
  }
  expect(p.read('none.txt')).toBe('none:.\n');
  expect(p.read('unsaid.txt')).toBe('unsaid:unset.\n');
});

test('cells get only GPUs that the engine can see', async () => {
  const p = project(
    {
      'p.yaml': `steps: { a: { run: 'echo $CUDA_VISIBLE_DEVICES > a.txt', resources: { gpu: 2 } }, b: { run: echo, resources: { gpu: 3 } } }\n`,
    },
    { CUDA_VISIBLE_DEVICES: '5,7' },
  );
  expect((await p.run('run', 'p.yaml')).screen).toContain('b asks for 3 GPUs, but this machine has 2 GPUs');
  expect((await p.run('run', 'p.yaml', '--only', 'a')).code).toBe(0);
  expect(p.read('a.txt')).toBe('5,7\n');
});

test('GPUs come from the driver', async () => {
  const p = project({
    'p.yaml': `steps: { a: { run: 'echo $CUDA_VISIBLE_DEVICES > a.txt', resources: { gpu: 3 } } }\n`,
    'bin/nvidia-smi': '#!/bin/sh\necho "$@" > asked.txt\nprintf "0\\n1\\n2\\n"\n',
  });
  chmodSync(p.path('bin/nvidia-smi'), 0o755);
  Object.assign(p.env, { PATH: `${p.path('bin')}:${process.env.PATH}`, TUNESMITH_GPUS: undefined, CUDA_VISIBLE_DEVICES: undefined });
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  expect(p.read('a.txt')).toBe('0,1,2\n');
  p.remove('asked.txt');
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  expect(p.exists('asked.txt'), 'a run with nothing to do asks nobody').toBe(false);
});

test('memory and cores are shared; a cell that waits for a GPU reserves no core', async () => {
  const most = Math.floor((memoryLimit() * 0.6) / 1e6);
  const p = project(
    {
      'p.yaml': `
steps:
  m: { matrix: { n: [1, 2, 3] }, run: '${TOLD}', env: { n: "\${{ matrix.n }}" }, resources: { memory: ${most}MB } }
`,
      'c.yaml': `
steps:
  c: { matrix: { n: [1, 2, 3] }, run: '${TOLD}; echo c', env: { n: "\${{ matrix.n }}" }, resources: { cpu: ${availableParallelism()} } }
`,
    },
    { TUNESMITH_GPUS: '1' },
  );
  expect((await p.run('run', 'p.yaml', '-j', '2')).code).toBe(0);
  expect(atOnce(lines(p))).toBe(1);
  p.remove('told');
  expect((await p.run('run', 'c.yaml', '-j', '2')).code).toBe(0);
  expect(atOnce(lines(p))).toBe(1);
});

test('a step that uses all cores gets their number, and runs next to others if the pipeline declares cores', async () => {
  const step = `import { appendFileSync, readFileSync } from 'node:fs';
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));
const begun = (folder) => readFileSync(folder + '/told', 'utf8').split('+').length - 1;
export default { name: 's', version: 1, threads: 'all', options: { n: { type: 'integer' } }, outputs: {}, async run({ options, folder, threads }) {
  appendFileSync(folder + '/told', '+' + options.n + ' ' + threads + '\\n');
  await sleep(500);
  // With its own cores, it ends only after the other has started.
  while (threads === 1 && begun(folder) < 2) await sleep(20);
  appendFileSync(folder + '/told', '-' + options.n + '\\n');
} };\n`;
  const yaml = (resources: string) =>
    `steps: { s: { uses: ./s.mjs, matrix: { n: [1, 2] }, with: { n: "\${{ matrix.n }}" }, cache: false${resources} } }\n`;
  const p = project({ 's.mjs': step, 'p.yaml': yaml('') });
  expect((await p.run('run', 'p.yaml', '-j', '2')).code).toBe(0);
  expect(atOnce(lines(p))).toBe(1);
  expect(lines(p)[0]).toBe(`+1 ${availableParallelism()}`);
  p.remove('told');
  p.write('p.yaml', yaml(', resources: { cpu: 1 }'));
  expect((await p.run('run', 'p.yaml', '-j', '2')).code).toBe(0);
  expect(atOnce(lines(p))).toBe(2);
  expect(lines(p)[0]).toMatch(/^\+[12] 1$/);
});

test('a waiting cell reserves only the scarce resources', async () => {
  const pool = new Pool({ cells: 3, cpu: 4, memory: 10 }, ['0', '1']);
  const entered: string[] = [];
  const take = (name: string, order: number, demand: Partial<Parameters<Pool['take']>[1]>) =>
    pool.take(order, { cells: 1, cpu: 1, memory: 0, gpu: 0, ...demand }).then((held) => {
      entered.push(name);
      return held;
    });
  const first = await take('first', 1, { gpu: 2 });
  expect(first.gpus).toEqual(['0', '1']);
  void take('waits for a GPU', 2, { gpu: 1 });
  const small = await take('small', 3, {});
  void take('behind it for the GPU', 4, { gpu: 1 });
  void take('wants all cores', 5, { cpu: 4 });
  void take('cannot overtake it', 6, {});
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(entered).toEqual(['first', 'small']);
  small.release();
  small.release();
  first.release();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(entered).toEqual(['first', 'small', 'waits for a GPU', 'behind it for the GPU']);
});

const FROZEN = (frozen: boolean, text: string) => `
steps:
  source: { run: "cat in.txt > source.txt; echo x >> runs-source", inputs: { i: in.txt }, outputs: { o: source.txt } }
  model: { run: "echo ${text} | cat - \${{ inputs.s }} > model.txt; echo x >> runs-model", inputs: { s: "\${{ steps.source.o }}" }, outputs: { o: model.txt }, frozen: ${frozen} }
  use: { run: "cat \${{ inputs.m }} > use.txt", inputs: { m: "\${{ steps.model.o }}" }, outputs: { o: use.txt } }
`;

test('a frozen step never runs: its last outputs are used and restored', async () => {
  const p = project({ 'p.yaml': FROZEN(true, 'one'), 'in.txt': 'in\n' });
  const refused = await p.run('run', 'p.yaml');
  expect(refused.code).toBe(2);
  expect(refused.screen).toMatchInlineSnapshot(`
    "p.yaml:4:162: error: model is frozen, but has never produced output o
      4 | … x >> runs-model", inputs: { s: "\${{ steps.source.o }}" }, outputs: { o: model.txt }, frozen: true }
        |                                                                                                ^^^^
      = Run it once without \`frozen: true\`.
    "
  `);
  expect(p.exists('source.txt')).toBe(false);

  p.write('p.yaml', FROZEN(false, 'one'));
  expect((await p.states('p.yaml')).cells).toEqual({ source: 'ran', model: 'ran', use: 'ran' });
  // Changed code, changed inputs and --force have no effect.
  p.write('p.yaml', FROZEN(true, 'two'));
  p.write('in.txt', 'other\n');
  expect((await p.states('p.yaml')).cells).toEqual({ source: 'ran', model: 'fresh', use: 'fresh' });
  expect((await p.states('p.yaml', '--force')).cells).toEqual({ source: 'ran', model: 'fresh', use: 'ran' });
  expect(p.read('model.txt')).toBe('one\nin\n');
  p.remove('model.txt');
  expect((await p.run('status', 'p.yaml')).screen).toContain('restore  model');
  expect((await p.states('p.yaml')).cells).toEqual({ source: 'fresh', model: 'restored', use: 'fresh' });
  expect(p.read('runs-model')).toBe('x\n');
  // Its dependencies may fail.
  p.write('p.yaml', FROZEN(true, 'two').replace('cat in.txt', 'false'));
  expect((await p.states('p.yaml', '--on-failure', 'continue')).cells).toEqual({ source: 'failed', model: 'fresh', use: 'fresh' });
  p.write('p.yaml', FROZEN(false, 'two'));
  expect((await p.states('p.yaml')).cells).toEqual({ source: 'fresh', model: 'ran', use: 'ran' });
});

test('a frozen step without a stored result does not run either', async () => {
  const p = project({ 'p.yaml': FROZEN(false, 'one'), 'in.txt': 'in\n' });
  await p.states('p.yaml');
  p.write('p.yaml', FROZEN(true, 'one'));
  p.remove('model.txt');
  p.remove('.tunesmith/objects');
  const { code, screen } = await p.run('run', 'p.yaml');
  expect(code).toBe(2);
  expect(screen).toContain('model is frozen, and its stored result is missing');
});

test('`version` enters the fingerprint and appears in the reason', async () => {
  const yaml = (version: string) => `steps: { a: { run: "./tool > a.txt", outputs: { o: a.txt }${version} } }\n`;
  const p = project({ 'p.yaml': yaml(''), tool: '#!/bin/sh\necho 1\n' });
  await p.run('run', 'p.yaml'); // fails: not executable
  chmodSync(p.path('tool'), 0o755);
  const state = async (version: string) => {
    p.write('p.yaml', yaml(version));
    const { events, cells } = await p.states('p.yaml');
    return [cells.a, events.find(({ type }) => type === 'running')?.why];
  };
  expect(await state('')).toEqual(['ran', 'first run']);
  expect(await state('')).toEqual(['fresh', undefined]);
  expect(await state(', version: 2')).toEqual(['ran', 'version: unset → 2']);
  expect(await state(', version: 2')).toEqual(['fresh', undefined]);
  expect(await state(', version: 2024-11')).toEqual(['ran', 'version: 2 → 2024-11']);
});
