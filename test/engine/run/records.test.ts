/** The history of runs: `runs`, `runs show`, `runs diff`, `logs`. */
import { execFileSync } from 'node:child_process';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const FIT = `import { writeFile } from 'node:fs/promises';
import { half } from './half.mjs';
export default {
  name: 'fit', version: 1, options: { rate: { type: 'number' } }, outputs: { model: 'file' },
  async run({ options, outputs, metric }) {
    const held = Buffer.alloc(options.rate === 0.25 ? 200e6 : 1, 1);
    for (const end = process.cpuUsage().user + held.length / 500; process.cpuUsage().user < end; );
    metric('loss', half(options.rate), 1);
    metric('loss', half(options.rate) / 2);
    metric('kept', held.length);
    await writeFile(outputs.model, String(options.rate));
  },
};
`;

const PIPELINE = `params: { rate: 0.5, word: x }
steps:
  words: { run: "cat data/* > \${{ outputs.o }}; echo said", inputs: { data: "data/*" }, outputs: { o: words.txt } }
  fit: { uses: ./fit.mjs, with: { rate: "\${{ params.rate }}" } }
`;

const FILES = { 'p.yaml': PIPELINE, 'fit.mjs': FIT, 'half.mjs': 'export const half = (n) => n / 2;\n', 'data/a': 'a\n', 'data/b': 'b\n' };

test('a run is recorded with its text, its commit, the machine and the resources of each cell', async () => {
  const p = project({ ...FILES, '.gitignore': '.tunesmith/\n' });
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], { cwd: p.folder, encoding: 'utf8' });
  git('init', '-q');
  git('add', '.');
  git('commit', '-qm', 'one');
  const commit = git('rev-parse', 'HEAD').trim();
  await p.states('p.yaml', '-p', 'rate=0.25');
  // The outputs of a run are neither committed nor tracked.
  p.write('half.mjs', 'export const half = (n) => n / 2; // changed\n');
  await p.states('p.yaml', '-p', 'rate=0.25');
  git('rm', '-q', '-r', '--cached', '.');

  const [second, first] = (await p.run('runs', '--json')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(first).toEqual({
    id: 1,
    pipeline: 'p.yaml',
    started: expect.stringMatching(/^\d{4}-.*Z$/),
    state: 'ended',
    seconds: expect.any(Number),
    counts: { ran: 2, fresh: 0, restored: 0, failed: 0, skipped: 0, canceled: 0 },
    text: expect.stringMatching(/^[\da-f]{64}$/),
    git: { commit, dirty: false },
    setting: {
      params: { rate: 0.25, word: 'x' },
      machine: { system: expect.any(String), cpu: expect.any(String), cores: expect.any(Number), memory: expect.any(Number) },
      versions: expect.objectContaining({ tunesmith: expect.any(String), node: process.versions.node, ajv: expect.any(String) }),
    },
  });
  expect(second.git).toEqual({ commit, dirty: true });

  const shown = JSON.parse((await p.run('runs', 'show', '1', '--json')).stdout);
  expect(shown.pipelineText).toBe(PIPELINE);
  const fit = shown.cells.find(({ cell }: { cell: string }) => cell === 'fit');
  expect(fit).toEqual(expect.objectContaining({ state: 'ran', why: 'first run', fingerprint: expect.stringMatching(/^[\da-f]{64}$/) }));
  if (process.platform === 'linux') {
    expect(fit.usage.cpuSeconds).toBeGreaterThan(0.3);
    expect(fit.usage.peakBytes).toBeGreaterThan(200e6);
    expect(fit.usage.peakBytes).toBeLessThan(600e6);
  }
  expect(shown.metrics).toContainEqual({ cell: 'fit', name: 'loss', value: 0.125, step: 1 });

  const screen = (await p.run('runs', 'show', 'latest')).stdout;
  expect(screen).toMatch(/^run 2 of p\.yaml, .*: 1 ran, 1 fresh\n/);
  expect(screen).toContain(`commit      ${commit.slice(0, 7)}+ (with uncommitted changes)\n`);
  expect(screen).toMatch(/^cell {2}state +time +CPU +memory {2}why$/m);
  expect(screen).toMatch(/^fit +ran +\S+ s +\S+ s +[\d.]+ MB {2}code of \.\/fit\.mjs changed$/m);
  expect(screen).toContain('1 more were fresh\n');
  expect((await p.run('runs')).stdout).toMatch(/^2 +.* p\.yaml .* [\da-f]{7}\+ +1 ran, 1 fresh$/m);
});

test('runs diff: parameters, code by line, data by file, metrics, also of fresh cells', async () => {
  const p = project(FILES);
  await p.states('p.yaml');
  p.write('half.mjs', 'export const half = (n) => n / 4;\n');
  p.write('data/c', 'c\n');
  p.write('data/b', 'other\n');
  p.write('p.yaml', PIPELINE.replace('echo said', 'echo told'));
  await p.states('p.yaml', '-p', 'rate=0.75');
  await p.states('p.yaml', '-p', 'rate=0.75');
  const diff = (await p.run('runs', 'diff', '1', 'latest')).stdout;
  expect(diff.slice(diff.indexOf('\n') + 1)).toBe(`
params
  rate: 0.5 → 0.75

pipeline
  @@ -1,4 +1,4 @@
   params: { rate: 0.5, word: x }
   steps:
  -  words: { run: "cat data/* > \${{ outputs.o }}; echo said", inputs: { data: "data/*" }, outputs: { o: words.txt } }
  +  words: { run: "cat data/* > \${{ outputs.o }}; echo told", inputs: { data: "data/*" }, outputs: { o: words.txt } }
     fit: { uses: ./fit.mjs, with: { rate: "\${{ params.rate }}" } }

cells
  words:
    command changed
      @@ -1 +1 @@
      -cat data/* > words.txt; echo said
      +cat data/* > words.txt; echo told
    input data changed: 2 of 3 files
      changed  data/b
      added  data/c
  fit:
    code of fit changed
      changed  half.mjs
      @@ -1 +1 @@
      -export const half = (n) => n / 2;
      +export const half = (n) => n / 4;
    option rate: 0.5 → 0.75

metrics
  cell  metric  before    after    change
  fit   loss     0.125  0.09375  -0.03125
  1 other is equal
`);
  // The run before has the same results. Its cells are fresh but still known.
  expect((await p.run('runs', 'diff')).stdout).toMatch(/^run 2 of .* → run 3 of .*\n\nno difference\n$/);
  const json = JSON.parse((await p.run('runs', 'diff', '1', '3', '--json')).stdout);
  expect(json.cells.map(({ cell, change, before, after }: any) => [cell, change, before, after])).toEqual([
    ['words', 'changed', 'ran', 'fresh'],
    ['fit', 'changed', 'ran', 'fresh'],
  ]);
});

test('added and removed cells, a failed run, and runs of other pipelines can be compared', async () => {
  const p = project({
    'p.yaml':
      'steps: { a: { matrix: { n: [1, 2] }, run: "echo ${{ matrix.n }} > ${{ outputs.o }}", outputs: { o: "out/${{ matrix.n }}" } } }',
  });
  await p.states('p.yaml');
  p.write('p.yaml', p.read('p.yaml').replace('[1, 2]', '[2, 3]').replace('echo', 'false; echo'));
  await p.states('p.yaml', '--on-failure', 'continue');
  const diff = (await p.run('runs', 'diff')).stdout;
  expect(diff).toContain('\n  removed: a[n=1]\n');
  expect(diff).toContain('\n  a[n=2]:\n    command changed\n');
  expect(diff).toContain('\n  added: a[n=3]\n');
});

test('messages for missing runs', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo" } }' });
  const said = async (...args: string[]) => {
    const { code, screen } = await p.run(...args);
    return [code, screen.split('\n')[0]];
  };
  expect(await said('runs')).toEqual([0, 'there are no runs yet']);
  expect(await said('runs', 'diff')).toEqual([2, 'error: there are no runs yet']);
  await p.states('p.yaml');
  expect(await said('runs', 'diff')).toEqual([2, 'error: there is no finished run of p.yaml before run 1']);
  expect(await said('runs', 'diff', '1', '7')).toEqual([2, 'error: there is no run 7']);
  expect(await said('runs', 'show', '0')).toEqual([2, 'error: there is no run 0']);
  expect(await said('runs', 'show', 'last')).toEqual([2, 'error: "last" is no run']);
  expect(await said('runs', 'diff', '1', '1', '1')).toEqual([2, 'error: runs has no subcommand "diff 1 1 1"']);
  expect(await said('logs', 'a', '--run', '9')).toEqual([2, 'error: there is no run 9']);
  expect(await said('runs', 'diff', '1', '1')).toEqual([0, expect.stringMatching(/^run 1 of .* → run 1 of /)]);
});

test("logs of a cell's last run and of a given run", async () => {
  const p = project({ 'p.yaml': 'params: { n: 1 }\nsteps: { a: { run: "echo said ${{ params.n }}" }, b: { run: "echo once" } }' });
  await p.states('p.yaml');
  await p.states('p.yaml', '-p', 'n=2');
  await p.states('p.yaml', '-p', 'n=2');
  const log = async (...args: string[]) => (await p.run('logs', ...args)).stdout;
  expect(await log('a')).toBe('said 2\n');
  expect(await log('b')).toBe('once\n');
  expect([await log('a', '--run', '1'), await log('a', '--run', 'previous')]).toEqual(['said 1\n', 'said 2\n']);
  expect((await p.run('logs', 'b', '--run', 'latest')).stderr).toContain('error: b has no log of run 3\n');
});

test('the interval of a metric is printed by the run, by later runs, and by runs show', async () => {
  const p = project({
    'measured.mjs': `import { writeFileSync } from 'node:fs';
export default { name: 'measured', version: 1, options: {}, outputs: { o: 'file' }, async run({ metric, outputs }) {
  metric('f1', 0.9551, { better: 'higher', low: 0.9312, high: 0.97499 });
  metric('roc_auc', NaN, { better: 'higher' });
  writeFileSync(outputs.o, 'x');
} };`,
    'p.yaml': 'steps: { measured: { uses: ./measured.mjs } }',
  });
  const table = /measured +f1 +roc_auc\n +0\.955 \[0\.931, 0\.975\] +n\/a\n/;
  const first = await p.run('run', 'p.yaml', '--plain');
  expect(first.screen).toMatch(/measured: ran .*: f1 0\.955 \[0\.931, 0\.975\], roc_auc n\/a/);
  expect(first.screen).toMatch(table);
  expect((await p.run('run', 'p.yaml', '--plain')).screen).toMatch(table);
  expect((await p.run('runs', 'show')).stdout).toContain('1 fresh');
  expect((await p.run('runs', 'show', '1')).stdout).toMatch(table);
  const [{ metrics }] = (await p.run('runs', 'show', '1', '--json')).events;
  expect(metrics[0]).toEqual({ cell: 'measured', name: 'f1', value: 0.9551, better: 'higher', low: 0.9312, high: 0.97499 });
  expect(metrics[1]).toEqual({ cell: 'measured', name: 'roc_auc', value: null, better: 'higher' });
});

test('records of an older version are read and upgraded', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "echo" } }' });
  await p.states('p.yaml');
  const state = new Sqlite(p.path('.tunesmith/state.sqlite'));
  for (const column of ['text', 'setting', 'git', 'fingerprints', 'host', 'boot', 'pid', 'start'])
    state.exec(`alter table runs drop column "${column}"`);
  for (const column of ['cpu', 'memory', 'result']) state.exec(`alter table cells drop column ${column}`);
  for (const column of ['better', 'low', 'high']) state.exec(`alter table metrics drop column ${column}`);
  state.exec(`update runs set counts = '{"ran":1}'; delete from manifests`);
  state.exec('drop table texts; drop table components; pragma user_version = 1');
  state.close();
  expect((await p.run('runs', 'show', '1')).stdout).toMatch(/^run 1 of p\.yaml, .*: 1 ran\n\ncell/);
  p.write('p.yaml', 'steps: { a: { run: "echo other" } }');
  await p.states('p.yaml');
  expect((await p.run('runs', 'diff')).stdout).toContain('a: changed; the records of these runs are too old to show how');
});
