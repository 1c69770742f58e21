/** Concurrent engines: two on one project, ten checkouts with one cache. */
import { createHash } from 'node:crypto';
import { symlinkSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { faulty } from './rig.ts';

test('a run that takes over the cell of a killed one is not undone by the next run', async () => {
  const p = faulty({
    'package.json': '{}',
    's.yaml': `
name: s
params: { w: three }
steps:
  a: { run: "touch begun; while [ -e hold ]; do sleep 0.05; done; echo \${{ params.w }} > \${{ outputs.o }}", outputs: { o: out/a.txt } }
  b: { run: "cat \${{ steps.a.o }} > \${{ outputs.o }}", outputs: { o: out/b.txt } }
`,
    'other.yaml': 'steps: { c: { run: "cat ${{ inputs.i }} > ${{ outputs.o }}", inputs: { i: out/a.txt }, outputs: { o: out/c.txt } } }\n',
  });
  await p.states('s.yaml');
  p.remove('begun');
  p.write('hold', '');
  const killed = p.start('run', 's.yaml', '-p', 'w=four');
  await p.until(() => p.exists('begun'));
  const waits = p.start('run', 's.yaml', '-p', 'w=four', '--plain');
  await p.until(() => waits.output().includes('waiting'));
  killed.kill('SIGKILL');
  await killed.done;
  p.remove('hold');
  expect((await waits.done).code).toBe(0);
  expect((await p.states('other.yaml')).cells).toEqual({ c: 'ran' });
  expect(['a', 'b', 'c'].map((name) => p.read(`out/${name}.txt`))).toEqual(['four\n', 'four\n', 'four\n']);
});

test.each(['shell', 'step'])(
  'a run (%s) that is suspended until another one takes over its outputs fails and leaves the outputs alone',
  async (kind) => {
    const body = `touch begun-\${{ params.x }}; until [ -e go-\${{ params.x }} ]; do sleep 0.05; done; echo \${{ params.x }} > \${{ outputs.o }}`;
    const p = faulty({
      'package.json': '{}',
      'wait.mjs': `import { existsSync, writeFileSync } from 'node:fs'; import { setTimeout as sleep } from 'node:timers/promises';
      export default { name: 'wait', version: 1, options: { x: {} }, outputs: { o: 'file' }, async run({ options: { x }, outputs, folder }) {
        writeFileSync(folder + '/begun-' + x, '');
        while (!existsSync(folder + '/go-' + x)) await sleep(50);
        writeFileSync(outputs.o, x + '\\n'); writeFileSync(folder + '/made-' + x, '');
      } };`,
      'p.yaml': `
name: p
params: { x: 1 }
steps:
  a: ${kind === 'shell' ? `{ run: "${body}; touch made-\${{ params.x }}", retry: 2, outputs: { o: a.txt } }` : '{ uses: ./wait.mjs, retry: 2, with: { x: "${{ params.x }}" } }'}
`,
    });
    const output = kind === 'shell' ? 'a.txt' : '.tunesmith/outputs/p/a/o';
    const stopped = p.start('run', 'p.yaml', '--plain');
    await p.until(() => p.exists('begun-1'));
    stopped.kill('SIGSTOP');
    p.write('go-1', '');
    await p.until(() => p.exists('made-1'));
    // Another machine does this after a minute without a heartbeat.
    const state = new Sqlite(p.path('.tunesmith/state.sqlite'));
    state.exec('delete from leases');
    state.close();
    new Sqlite(p.path('.tunesmith/index.sqlite')).exec('delete from leases').close();
    p.write('go-2', '');
    expect((await p.states('p.yaml', '-p', 'x=2')).cells).toEqual({ a: 'ran' });
    stopped.kill('SIGCONT');
    const { code, screen } = await stopped.done;
    expect(code).toBe(1);
    expect(screen).toMatch(
      /a: failed after .*: another run took over its outputs while this run was suspended, so the files there belong to that run/,
    );
    expect(screen).toMatch(/A run that is suspended for a minute/);
    expect(p.read(output)).toBe('2\n');
    expect(p.find('.tunesmith/work')).toEqual([]);
    expect((await p.states('p.yaml', '-p', 'x=2')).cells).toEqual({ a: 'fresh' });
    expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
    expect(p.read(output)).toBe('1\n');
  },
);

test('two cells that write the same file through a link do not run at the same time; each has its own result', async () => {
  const p = faulty({
    'package.json': '{}',
    'real/keep': '',
    'p.yaml': `
steps:
  one: { run: "echo one > \${{ outputs.o }}; sleep 1", outputs: { o: real/x } }
  two: { run: "sleep 0.4; echo two > \${{ outputs.o }}", outputs: { o: link/x } }
`,
  });
  symlinkSync('real', p.path('link'));
  await p.states('p.yaml', '-j', '2');
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  expect(p.read('p.lock').match(/(?<=o: file )\w+/g)).toEqual([hash('one\n'), hash('two\n')]);
});
