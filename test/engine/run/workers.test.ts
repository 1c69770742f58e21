/** Processes that run several cells behave as if each cell had its own process. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { OrphanReaper } from '../../../engine/run/process/orphan-reaper.ts';
import { StepProcesses } from '../../../engine/run/process/process-reuse.ts';
import type { Message } from '../../../engine/run/process/step-process.ts';
import { Meter } from '../../../engine/run/process/usage.ts';
import { type Project, project } from '../../rig.ts';

/** A step that runs the code in its option `code`. */
const STEP = `export default { name: 'odd', version: 1, options: { code: { type: 'string' } }, outputs: {},
  async run({ options, log, signal }) {
    log(JSON.stringify({ pid: process.pid, variable: process.env.VARIABLE, folder: process.cwd() }));
    await new (Object.getPrototypeOf(async () => {}).constructor)('log', 'signal', options.code)(log, signal);
  } };\n`;

function workshop() {
  const p = project({ 'odd.mjs': STEP });
  mkdirSync(p.path('elsewhere'));
  const guard = new OrphanReaper();
  const workers = new StepProcesses(guard);
  onTestFinished(async () => {
    await workers.close();
    guard.close();
  });
  const run = async (
    code: string,
    more: { environment?: Record<string, string>; threads?: number; shared?: boolean; stopOnce?: 'begun' } = {},
  ) => {
    const { environment = {}, threads = 1, shared = true, stopOnce } = more;
    const stop = new AbortController();
    const meter = new Meter();
    const messages: Message[] = [];
    const output = { stdout: '', stderr: '' };
    const death = await workers.run({
      setting: { folder: p.folder, environment: { PATH: process.env.PATH!, ...environment }, threads },
      job: {
        module: { path: p.path('odd.mjs') },
        options: { code },
        inputs: {},
        origins: {},
        addresses: {},
        names: {},
        repositories: {},
        leftOut: [],
        outputs: {},
        checkpoints: p.path('checkpoints'),
        folder: p.folder,
        cell: { cell: 'odd', matrix: {} },
        seed: 1,
      },
      shared,
      signal: stop.signal,
      meter,
      onLeftBehind() {},
      onOutput: (stream, bytes) => {
        output[stream] += Buffer.from(bytes).toString();
      },
      onMessage: (message) => {
        messages.push(message);
        if (stopOnce && message.type === 'log') stop.abort();
      },
    });
    const logs = messages.flatMap((message) => (message.type === 'log' ? [message.message] : []));
    const seen = JSON.parse(logs[0] ?? '{}') as { pid: number; variable?: string; folder: string };
    return {
      ...seen,
      usage: meter.usage,
      logs: logs.slice(1),
      output,
      death,
      ends: messages.filter(({ type }) => type === 'done' || type === 'error'),
    };
  };
  return { p, run, workers };
}

test('the next step with the same environment uses the same process; each has its own output and messages', async () => {
  const { run } = workshop();
  const first = await run("console.log('one'); console.error('x'.repeat(300000) + String.fromCharCode(0) + 'end'); log('said')");
  const second = await run("process.stdout.write('two')");
  expect(second.pid).toBe(first.pid);
  expect([first.death, second.death]).toEqual([undefined, undefined]);
  expect([first.output.stdout, first.output.stderr === `${'x'.repeat(300000)}\0end\n`]).toEqual(['one\n', true]);
  expect(second.output).toEqual({ stdout: 'two', stderr: '' });
  expect([first.logs, second.logs]).toEqual([['said'], []]);
  expect([first.ends, second.ends]).toEqual([[{ type: 'done' }], [{ type: 'done' }]]);
});

test('other variables or cores, or a fresh process on request, need another process', async () => {
  const { run } = workshop();
  const secret = await run('', { environment: { VARIABLE: 'secret' }, shared: false });
  const secretAgain = await run('', { environment: { VARIABLE: 'secret' } });
  const other = await run('', { environment: { VARIABLE: 'a' } });
  const threads = await run('', { threads: 2 });
  const first = await run('');
  // Directly after it, because an idle process lives only some seconds.
  const again = await run('');
  expect([secret.variable, other.variable, again.variable]).toEqual(['secret', 'a', undefined]);
  expect(new Set([first, secret, other, threads, secretAgain].map(({ pid }) => pid)).size).toBe(5);
  expect(again.pid).toBe(first.pid);
  expect(secret.death).toEqual({ exitCode: 0, signal: undefined });
});

test('changed variables are restored; a process with other leftovers is not reused', async () => {
  const { run } = workshop();
  const first = await run("process.env.VARIABLE = 'left'; process.env.HOME = 'left'; delete process.env.PATH;");
  const second = await run('log(String(process.env.HOME) + String(process.env.PATH).length)');
  expect(second).toMatchObject({ pid: first.pid, logs: [`undefined${process.env.PATH!.length}`] });
  for (const left of [
    'setInterval(() => {}, 1000)',
    "process.chdir('elsewhere')",
    "(await import('node:net')).createServer().listen(0)",
    "(await import('node:child_process')).spawn('sleep', ['60'])",
  ]) {
    const before = await run('');
    const leaver = await run(left);
    const next = await run('');
    expect(leaver.pid, left).toBe(before.pid);
    expect(leaver.ends).toEqual([{ type: 'done' }]);
    expect(next.pid, left).not.toBe(leaver.pid);
    expect(next.folder).toBe(before.folder);
  }
});

test('messages after the end of a step are ignored', async () => {
  const { run } = workshop();
  const first = await run("globalThis.late = () => { log('late'); }");
  const second = await run('late(); globalThis.late = undefined;');
  expect(second.pid).toBe(first.pid);
  expect(second.logs).toEqual([]);
});

test('a process that failed, was killed or was stopped is replaced', async () => {
  const { run } = workshop();
  const pids: number[] = [];
  const good = async () => {
    const { pid, ends } = await run('');
    expect(ends).toEqual([{ type: 'done' }]);
    expect(pids).not.toContain(pid);
    pids.push(pid);
    return pid;
  };
  await good();
  const failed = await run("throw Object.assign(new Error('no'), { hint: 'try', name: 'StepError' })");
  expect(failed.ends).toEqual([{ type: 'error', message: 'no', hint: 'try' }]);
  expect(failed.death?.exitCode).toBe(0);
  await good();
  const killed = await run("process.kill(process.pid, 'SIGKILL'); await new Promise(() => {})");
  expect([killed.ends, killed.death?.signal]).toEqual([[], 'SIGKILL']);
  await good();
  const left = await run('process.exit(3)');
  expect([left.ends, left.death?.exitCode]).toEqual([[], 3]);
  const pid = await good();
  // While it is idle.
  process.kill(pid, 'SIGKILL');
  await good();
  const stopped = await run('await new Promise((resolve) => signal.addEventListener("abort", resolve))', { stopOnce: 'begun' });
  expect(stopped.death).toBeDefined();
  await good();
  const hung = await run('for (;;);', { stopOnce: 'begun' });
  expect(hung.death?.signal).toMatch(/^SIG(TERM|KILL)$/);
  await good();
});

test.runIf(process.platform === 'linux')('each step is measured separately', async () => {
  const { run } = workshop();
  const first = await run(
    'globalThis.much = Buffer.alloc(3e8, 1); for (const start = process.cpuUsage(); process.cpuUsage(start).user < 4e5; );',
  );
  const small = await run('globalThis.much = undefined; globalThis.gc?.()');
  expect(small.pid).toBe(first.pid);
  expect(first.usage!.peakBytes).toBeGreaterThan(3e8);
  expect(first.usage!.cpuSeconds).toBeGreaterThan(0.2);
  expect(small.usage!.cpuSeconds).toBeLessThan(first.usage!.cpuSeconds / 2);
  const quick = await run('');
  expect(quick.usage).toBeDefined();
});

test('idle processes end when there is no more work', async () => {
  const { run, workers } = workshop();
  const { pid } = await run('');
  process.kill(pid, 0);
  await workers.close();
  expect(() => process.kill(pid, 0)).toThrow();
});

test.runIf(process.platform === 'linux')('an idle process ends with a killed engine', async () => {
  const p = project({
    'p.yaml': 'steps: { c: { uses: collect, with: { files: x.jsonl } }, s: { run: "echo > begun; sleep 60", needs: c } }\n',
    'x.jsonl': '{"text": "a"}\n',
  });
  const engine = p.start('run', 'p.yaml');
  await p.until(() => p.exists('begun'), 60);
  const children = readFileSync(`/proc/${engine.pid}/task/${engine.pid}/children`, 'utf8').split(' ').filter(Boolean);
  const idle = children.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('step-process'));
  expect(idle).toHaveLength(1);
  engine.kill('SIGKILL');
  await engine.done;
  await p.until(() => {
    try {
      return readFileSync(`/proc/${idle[0]}/stat`, 'utf8').includes(') Z');
    } catch {
      return true;
    }
  });
});

/** The step processes of an engine. */
async function processesOf(p: Project, ...args: string[]): Promise<Set<string>> {
  const engine = p.start(...args);
  const pids = new Set<string>();
  let over = false;
  void engine.done.then(() => {
    over = true;
  });
  while (!over) {
    try {
      for (const pid of readFileSync(`/proc/${engine.pid}/task/${engine.pid}/children`, 'utf8').split(' ').filter(Boolean))
        if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('step-process')) pids.add(pid);
    } catch {
      // Gone since.
    }
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  expect((await engine.done).code).toBe(0);
  return pids;
}

test.runIf(process.platform === 'linux')(
  'eight small cells start two processes and make the same as separate processes',
  async () => {
    const yaml = `
steps:
  c: { uses: collect, with: { files: x.jsonl } }
  k:
    matrix: { m: [${Array.from({ length: 8 }, (_, i) => i + 1).join()}] }
    uses: clean
    with: { data: "\${{ steps.c.data }}", min_length: "\${{ matrix.m }}", lowercase: true }
`;
    const rows = Array.from({ length: 30 }, (_, i) => JSON.stringify({ text: 'A'.repeat(i + 1) })).join('\n');
    const together = project({ 'p.yaml': yaml, 'x.jsonl': rows });
    expect((await processesOf(together, 'run', 'p.yaml', '-j', '2')).size).toBeLessThanOrEqual(2);
    const alone = project({ 'p.yaml': yaml, 'x.jsonl': rows });
    await alone.run('run', 'p.yaml', '--only', 'c');
    for (const m of [1, 8]) {
      await alone.run('run', 'p.yaml', '--only', `k[m=${m}]`);
      const folder = `.tunesmith/outputs/p/k[m=${m}]/data`;
      for (const name of readdirSync(together.path(folder)))
        expect(readFileSync(alone.path(join(folder, name))), name).toEqual(readFileSync(together.path(join(folder, name))));
    }
    // With a secret, each step has its own process.
    together.env.TOKEN = 'abc';
    writeFileSync(
      together.path('p.yaml'),
      yaml.replace('lowercase: true }', 'lowercase: false }\n    secrets: [TOKEN]').replace(/\[1.*\]/, '[1, 2, 3, 4]'),
    );
    expect((await processesOf(together, 'run', 'p.yaml', '-j', '2')).size).toBe(4);
  },
  120_000,
);
