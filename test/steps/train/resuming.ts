/** Trainings that are interrupted and run again, by the CLI and in this process. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import step from '../../../steps/train/step.ts';
import { project, root } from '../../rig.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

export const QUICK = { epochs: 3, batch_size: 4, learning_rate: 0.02, dropout: 0.1, save_steps: 2 };

/** A project with one cell, train, and the CLI in a process group of its own, as a shell starts it. */
export async function cli(options: object = {}) {
  const model = smallModel();
  const p = project();
  fs.cpSync(model, p.path('model'), { recursive: true });
  fs.cpSync(await smallTokens(model), p.path('tokens'), { recursive: true });
  const cell = { uses: 'train', resources: { cpu: 1 }, with: { tokens: './tokens', model: './model', ...QUICK, ...options } };
  p.write('p.yaml', `name: p\nsteps:\n  train: ${JSON.stringify(cell)}\n`);
  const start = () => {
    const child = spawn(process.execPath, [join(root, 'dist/engine/cli.js'), 'run', 'p.yaml', '--json'], {
      cwd: p.folder,
      env: { ...process.env, TUNESMITH_CACHE: undefined },
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
    let over = false;
    const ended = new Promise<void>((resolve) => {
      child.on('close', () => {
        over = true;
        resolve();
      });
    });
    const kill = (signal: NodeJS.Signals) => {
      if (!over) process.kill(-child.pid!, signal);
    };
    onTestFinished(() => kill('SIGKILL'));
    /** False if it ended before. */
    const trains = async () => {
      await p.until(() => over || printed.includes('"type":"progress"'), 60);
      return !over;
    };
    return { kill, ended, trains, printed: () => printed };
  };
  return {
    p,
    start,
    states: async (...args: string[]) => (await p.states('p.yaml', ...args)).cells.train,
    made: () => ({
      weights: sha256(p.path(`${OUTPUT}/model.safetensors`)),
      history: historyIn(p.path('.tunesmith/outputs/p/train/history')),
    }),
  };
}

export const OUTPUT = '.tunesmith/outputs/p/train/model';

export interface Ending {
  checkpoints?: string;
  /** After this many steps the signal aborts, or the step dies without a chance to write anything. */
  abortAt?: number;
  dieAt?: number;
  /** The same, triggered by a line of the log. */
  dieAtLine?: RegExp;
}

/** The step in this process, with the runtime that compiles, because `eager` takes twice as long. Its errors carry its log and its warnings. */
export async function here(usual: object = {}) {
  const model = smallModel();
  const inputs: Record<string, string> = { model, tokens: await smallTokens(model) };
  const train = async (
    { checkpoints = join(temporary(), 'none'), abortAt, dieAt, dieAtLine }: Ending = {},
    options: object = {},
    given = inputs,
  ) => {
    const log: string[] = [];
    const warnings: string[] = [];
    const metrics: Record<string, number> = {};
    const stop = new AbortController();
    const more = {
      checkpoints,
      signal: stop.signal,
      log(line: string) {
        log.push(line);
        if (dieAtLine?.test(line)) throw new Error('died');
      },
      warn: (line: string) => void warnings.push(line),
      metric(name: string, value: number, at?: number) {
        if (at === undefined) metrics[name] = value;
        if (name === 'loss' && at === abortAt) stop.abort();
        if (name === 'loss' && at === dieAt) throw new Error('died');
      },
    };
    try {
      const { outputs } = await ranStep(step, { ...QUICK, runtime: 'onnx', ...usual, ...options }, given, {}, more);
      const history = historyIn(outputs.history!);
      const result = { weights: sha256(join(outputs.model!, 'model.safetensors')), history };
      const record = JSON.parse(fs.readFileSync(join(outputs.model!, 'training.json'), 'utf8'));
      return { outputs, result, record, log, warnings, metrics };
    } catch (error) {
      throw error === stop.signal.reason ? error : Object.assign(error as Error, { log, warnings });
    }
  };
  return { train, inputs };
}

export const historyIn = (file: string) =>
  fs
    .readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

export const sha256 = (file: string) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

/** With one bit flipped in the middle. */
export function flipped(bytes: Buffer): Buffer {
  const at = Math.floor(bytes.length / 2);
  bytes[at]! ^= 1;
  return bytes;
}

export const CONTINUES = /resumes at step (\d+) of \d+ \(epoch \d+\), from a checkpoint of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/;

/** The step at which the training of this log resumed; 0 if it started from the beginning. */
export const continued = (log: string): number => Number(CONTINUES.exec(log)?.[1] ?? 0);

export const namesIn = (folder: string): string[] => fs.readdirSync(folder).sort();
