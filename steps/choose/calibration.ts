/** The speed of this machine: measured by a short training of small models, and kept in the user's cache folder. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StepError } from '../../engine/contract/step.ts';
import { machineKey } from '../ml/device/open.ts';
import type { RuntimeName } from '../ml/runtime/runtime.ts';
import { bytesIn } from '../ml/runtime/training-memory.ts';
import type { Measured, ProbeResult } from './calibration-process.ts';
import type { Work, Workload } from './workload.ts';

export interface Speed {
  /** Of the runtime that was measured. */
  runtime: Measured['runtime'];
  /** Seconds until a process is ready to train. */
  startup: number;
  /** Seconds to compile an operation of a graph. */
  compile: number;
  /** Seconds that a step takes for each unit of its work. */
  step: Work;
  /** Memory of the process besides what the model needs, in bytes. */
  overhead: number;
}

interface CalibrationOptions {
  threads: number;
  /** Where the result is kept. */
  file: string;
  /** Measure again, even if a result is kept. */
  again: boolean;
  say: (message: string) => void;
}

export async function calibrate({ threads, file, again, say }: CalibrationOptions): Promise<Speed> {
  const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };
  const key = `${machineKey({ threads, device: 'auto' })}, Node ${process.versions.node}, tunesmith ${version}`;
  const known = readKept(file);
  const found = again ? undefined : known[key];
  if (found?.step && Number.isFinite(found.overhead + secondsOf(found.step, found.step))) return found;
  say('measuring the speed of this machine, which takes some seconds once');
  const speed = speedOf(await measureInProcess(threads));
  try {
    keep(file, { ...readKept(file), [key]: speed });
  } catch (error) {
    say(`the result is not kept: ${(error as Error).message}`);
  }
  return speed;
}

function keep(file: string, speeds: Record<string, Speed>): void {
  mkdirSync(dirname(file), { recursive: true });
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify(speeds, null, 2)}\n`);
  renameSync(partial, file);
}

function readKept(file: string): Record<string, Speed> {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return {}; // none yet, or damaged: it is measured again
  }
}

async function measureInProcess(threads: number): Promise<Measured> {
  const source = import.meta.url.endsWith('.ts');
  const child = fork(fileURLToPath(new URL(`./calibration-process.${source ? 'ts' : 'js'}`, import.meta.url)), [String(threads)], {
    execArgv: source ? ['--import', 'tsx'] : [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let errors = '';
  child.stderr!.on('data', (text) => {
    errors += text;
  });
  let measured: Measured | undefined;
  child.on('message', (message: Measured) => {
    measured = message;
  });
  await once(child, 'close');
  if (measured) return measured;
  const last = errors.trim().split('\n').at(-1);
  throw new StepError(
    `the speed of this machine could not be measured${last ? `: ${last}` : ''}`,
    '`tunesmith doctor` checks this machine.',
  );
}

/** Each probe decides one of the costs; what the others contribute to its time is subtracted, until nothing changes. */
export function speedOf({ runtime, startup, probes }: Measured): Speed {
  const step: Work = { elements: 0, products: 0, weights: 0, operations: 0 };
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, kind] of KINDS.entries()) {
      const { workload, seconds } = probes[i]!;
      const others = secondsOf({ ...workload.step, [kind]: 0 }, step);
      // Noise must not make a cost negative.
      step[kind] = Math.max(0.02 * seconds, seconds - others) / workload.step[kind];
    }
  const compile = Math.max(0, ...probes.map(({ first, seconds, workload }) => (first - seconds) / workload.step.operations));
  const [first] = probes as [ProbeResult];
  return { runtime, startup, compile, step, overhead: Math.max(0, first.peak - ownBytes(first.workload, runtime.name)) };
}

/** In the order of the probes. */
const KINDS = ['operations', 'elements', 'products', 'weights'] as const;
const ROUNDS = 50;

/** The memory of a training without that of the process. */
export function ownBytes({ memory, forward }: Pick<Workload, 'memory' | 'forward'>, runtime: RuntimeName): number {
  return bytesIn({ ...memory, activations: 0 }) + OF_FORWARD[runtime] * forward;
}

/**
 * The memory of all activations, as a multiple of what the forward pass computes. A runtime keeps the memory of values that it no
 * longer needs, so that it takes more than the activations that exist at once. Measured with the models of docs/performance.md.
 */
const OF_FORWARD: Record<RuntimeName, number> = { onnx: 1.42, tensorflow: 0.9, eager: 1 };

/** Seconds of one step. */
export const secondsOf = (work: Work, cost: Speed['step']): number => KINDS.reduce((sum, kind) => sum + work[kind] * cost[kind], 0);
