/** A training that is cut off and run again makes what one makes that was left alone: through the real CLI, to the last bit. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { project, root } from '../../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

const QUICK = { epochs: 3, batch_size: 4, learning_rate: 0.02, dropout: 0.1, save_steps: 2 };

/** `more`: further steps, as YAML. */
async function training(options: object = {}, more = '', yaml: object = {}) {
  const model = smallModel();
  const p = project();
  fs.cpSync(model, p.path('model'), { recursive: true });
  fs.cpSync(await smallTokens(model), p.path('tokens'), { recursive: true });
  const set = (options: object, extra = more) => {
    const cell = { uses: 'train', with: { tokens: './tokens', model: './model', ...QUICK, ...options }, ...yaml };
    p.write('p.yaml', `name: p\nsteps:\n  train: ${JSON.stringify(cell)}\n${extra}`);
  };
  set(options);
  const made = (cell = 'train') => {
    const at = `.tunesmith/outputs/p/${cell}`;
    return { weights: sha256(p.path(`${at}/model/model.safetensors`)), history: p.read(`${at}/history`) };
  };
  /** The run as a shell starts it: a process group of its own. */
  const start = () => {
    const child = spawn(process.execPath, [join(root, 'dist/engine/cli.js'), 'run', 'p.yaml', '--json'], {
      cwd: p.folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
    const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
    const kill = (signal: NodeJS.Signals) => {
      try {
        process.kill(-child.pid!, signal);
      } catch {
        // It has ended by itself.
      }
    };
    onTestFinished(() => kill('SIGKILL'));
    const trains = () => p.until(() => printed.includes('"progress"') || child.exitCode !== null);
    return { kill, ended, trains };
  };
  const run = async (...args: string[]) => {
    const { cells, events } = await p.states('p.yaml', ...args);
    const of = (type: string, field: string) => events.filter((event) => event.type === type).map((event) => event[field] as string);
    const failures = events.flatMap((event) => (event.failure ? [event.failure] : []));
    return { state: cells.train, cells, log: of('log', 'line'), notices: of('notice', 'message'), failures, events };
  };
  /** Where the one cell's checkpoints lie, the newest first. */
  const checkpoints = () => {
    const [folder] = fs.existsSync(p.path('.tunesmith/checkpoints')) ? fs.readdirSync(p.path('.tunesmith/checkpoints')) : [];
    if (folder === undefined) return [];
    const at = `.tunesmith/checkpoints/${folder}`;
    const names = fs.readdirSync(p.path(at)).filter((name) => name.startsWith('epoch-'));
    const stepOf = (name: string) => Number(name.split('-').at(-1));
    return names.sort((a, b) => stepOf(b) - stepOf(a)).map((name) => ({ step: stepOf(name), path: p.path(join(at, name)) }));
  };
  return { p, set, made, start, run, checkpoints };
}

const sha256 = (file: string) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const CONTINUES = /^continues at step (\d+) of \d+ \(epoch \d+\), from a checkpoint of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/;
const continued = (log: string[]) => log.flatMap((line) => CONTINUES.exec(line)?.[1] ?? []).map(Number);

test('killed with -9 ten times at any moment, and run again: the same weights and the same history', async () => {
  const { p, made, start, run } = await training();
  const t = performance.now();
  const lap = (w: string) => console.log(w, Math.round(performance.now() - t));
  expect((await run()).state).toBe('ran');
  lap('one');
  const whole = made();
  expect((await run('--force')).state).toBe('ran');
  lap('two');
  expect(made()).toEqual(whole);
  const resumed = 0;
  for (let round = 0; round < 3; round++) {
    p.remove('.tunesmith');
    const killed = start();
    await killed.trains();
    lap('trains');
    await sleep(Math.random() * 700);
    killed.kill('SIGKILL');
    await killed.ended;
    lap('killed');
    const { state, log } = await run();
    lap('rerun ' + continued(log));
    expect(['ran', 'fresh']).toContain(state);
    expect(made()).toEqual(whole);
  }
});
