/** The resources of this machine that cells share, and the part that a cell uses. */
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { type Diagnostic, InvalidError } from '../diagnostic.ts';
import { memoryLimit } from '../memory-limit.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
import type { Demand } from './schedule.ts';

export interface Machine {
  cpu: number;
  /** Bytes. */
  memory: number;
  /** GPU ids as in CUDA_VISIBLE_DEVICES. */
  gpus: string[];
}

/** Counts GPUs only if one of the cells asks for one, because the driver takes a while to answer. */
export async function machineFor(cells: Cell[]): Promise<Machine> {
  const asked = cells.some(({ resources }) => (resources.gpu ?? 0) > 0);
  return { cpu: availableParallelism(), memory: memoryLimit(), gpus: asked ? await gpus() : [] };
}

/** Throws InvalidError if a cell asks for more than the machine has, because it would wait forever. */
export async function checkResources(cells: Cell[], machine: Machine, pipeline: Pipeline): Promise<void> {
  const mistakes: Diagnostic[] = [];
  const told = new Set<string>();
  for (const { name, step, resources } of cells) {
    for (const { key, asked, has, hint } of [
      { key: 'cpu', asked: resources.cpu ?? 0, has: machine.cpu, hint: 'Ask for fewer.' },
      { key: 'gpu', asked: resources.gpu ?? 0, has: machine.gpus.length, hint: '`tunesmith doctor` lists the GPUs.' },
      { key: 'memory', asked: resources.memory ?? 0, has: machine.memory, hint: 'Ask for less.' },
    ]) {
      if (asked <= has || told.has(`${step} ${key}`)) continue;
      told.add(`${step} ${key}`);
      const message = `${name} asks for ${amount(key, asked)}, but this machine has ${has === 0 ? 'none' : amount(key, has)}`;
      mistakes.push(await pipeline.locate(step, ['resources', key], message, hint));
    }
  }
  if (mistakes.length > 0) throw new InvalidError(mistakes);
}

/** The resources of a running cell. A step that uses all cores runs alone, unless the pipeline declares its number of cores. */
export function demandOf({ resources: { cpu, gpu = 0, memory = 0 }, action }: Cell, jobs: number): Demand {
  const alone = cpu === undefined && action.kind === 'step' && action.definition.threads === 'all';
  return { cells: alone ? jobs : 1, cpu: cpu ?? 1, memory, gpu };
}

/** The GPUs: from TUNESMITH_GPUS if set, otherwise from the driver. Cells get only GPUs that the engine itself can see. */
async function gpus(): Promise<string[]> {
  const visible = process.env.CUDA_VISIBLE_DEVICES;
  if (visible !== undefined) return visible.split(',').flatMap((name) => name.trim() || []);
  const count = process.env.TUNESMITH_GPUS === undefined ? await counted() : Number(process.env.TUNESMITH_GPUS);
  return Array.from({ length: count }, (_, index) => String(index));
}

async function counted(): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader'], { timeout: 20_000 });
    return stdout.split('\n').filter((line) => /^\d+$/.test(line.trim())).length;
  } catch {
    return 0; // no driver
  }
}

function amount(key: string, count: number): string {
  if (key === 'memory') return `${(count / 1e9).toFixed(1)} GB of memory`;
  const one = key === 'gpu' ? 'GPU' : 'core';
  return `${count.toLocaleString('en-US')} ${one}${count === 1 ? '' : 's'}`;
}
