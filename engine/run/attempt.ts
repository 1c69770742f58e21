/** One attempt to run a cell in child processes: the commands of a shell step, or a step's `run`. */
import { availableParallelism } from 'node:os';
import type { RunEvent } from '../events.ts';
import { memoryKills } from '../memory-limit.ts';
import type { Cell, Pipeline, StepAction } from '../pipeline/pipeline.ts';
import { leavesNothing } from '../registry.ts';
import type { ChildOptions } from './child.ts';
import { childEnvironment } from './environment.ts';
import { killedMeanwhile, meaningOf, type Verdict } from './failure.ts';
import type { Guard } from './guard.ts';
import { withViews } from './input-view.ts';
import type { Inputs } from './inputs.ts';
import type { CellLog } from './log.ts';
import type { Mask } from './masking.ts';
import { runCommands } from './shell-commands.ts';
import type { Message, StepJob } from './step-process.ts';
import type { Meter } from './usage.ts';
import type { Workers } from './workers.ts';

export interface Attempt {
  cell: Cell;
  pipeline: Pipeline;
  inputs: Inputs;
  fingerprint: string;
  /** The path where the step writes each output. */
  outputs: Record<string, string>;
  /** A folder of this attempt. Does not exist yet. */
  scratch: string;
  /** The folder for a step's checkpoints, which survive an interrupted attempt. */
  checkpoints: string | undefined;
  log: CellLog;
  mask: Mask;
  /** GPUs that the cell has alone while it runs. */
  gpus: string[];
  guard: Guard;
  workers: Workers;
  meter: Meter;
  signal: AbortSignal;
  emit(event: RunEvent): void;
}

/** Resolves with the failure; undefined on success. */
export async function attempt(work: Attempt): Promise<Verdict | undefined> {
  const { action, name } = work.cell;
  const kills = memoryKills();
  const verdict = await (action.kind === 'shell' ? runCommands(work, action, childOptions(work)) : runStep(work, action));
  // A pipe of /bin/sh succeeds if its last command does, even if an earlier one was killed.
  if (!verdict && !work.signal.aborted && memoryKills() > kills)
    work.emit({
      type: 'notice',
      cell: name,
      message: `${killedMeanwhile()}. If the process belonged to ${name}, its outputs may be incomplete.`,
    });
  return verdict;
}

async function runStep(work: Attempt, action: StepAction): Promise<Verdict | undefined> {
  const { cell, log, mask, emit } = work;
  const kills = memoryKills();
  let ending: Extract<Message, { type: 'done' | 'error' }> | undefined;
  const hear = (message: Message) => {
    if (message.type === 'done' || message.type === 'error') ending = message;
    else if (message.type === 'log') log.line('step', message.message);
    else if (message.type === 'warn') {
      log.line('step', message.message);
      emit({ type: 'notice', cell: cell.name, message: mask(message.message) });
    } else if (message.type === 'result') {
      log.detail(message.message);
      emit({ type: 'result', cell: cell.name, message: mask(message.message) });
    } else if (message.type === 'progress') {
      const values = Object.entries(message.values).map(([name, value]) => [name, typeof value === 'string' ? mask(value) : value]);
      emit({ type: 'progress', cell: cell.name, done: message.done, total: message.total, values: Object.fromEntries(values) });
    } else if (message.type === 'metric')
      emit({ type: 'metric', cell: cell.name, name: message.name, value: message.value, step: message.step });
  };
  const death = await work.workers.run({
    place: {
      folder: work.pipeline.folder,
      environment: childEnvironment(cell, work.gpus),
      threads: cell.resources.cpu ?? (action.definition.threads === 'all' ? availableParallelism() : 1),
    },
    job: jobOf(work, action),
    // A secret goes only to the process of a cell that declares it.
    shared: 'builtin' in action.module && leavesNothing(action.module.builtin) && cell.secrets.length === 0,
    signal: work.signal,
    meter: work.meter,
    onOutput: (stream, bytes) => log.chunk(stream, bytes),
    hear,
  });
  if (work.signal.aborted) return undefined;
  if (ending?.type === 'done') return undefined;
  if (!ending)
    return !death || death.exitCode === 0
      ? { message: 'ended its process before it was done', hint: 'return from `run` instead of calling process.exit()' }
      : meaningOf(death, kills, log.tail);
  // The log has the whole stack. The screen shows only the frames in the user's own code.
  const { message, hint, option, stack, frames } = ending;
  return { message: mask(message), hint: hint && mask(hint), option, detail: stack, stack: frames };
}

function childOptions({ cell, pipeline, gpus, guard, meter, signal, log }: Attempt): ChildOptions {
  return {
    folder: pipeline.folder,
    environment: childEnvironment(cell, gpus),
    signal,
    guard,
    meter,
    onOutput: (stream, bytes) => log.chunk(stream, bytes),
  };
}

function jobOf(
  { cell, pipeline, inputs: given, outputs, checkpoints, fingerprint, scratch }: Attempt,
  { module, options }: StepAction,
): Omit<StepJob, 'mark' | 'threads'> {
  const paths: StepJob['inputs'] = Object.create(null);
  const origins: StepJob['origins'] = Object.create(null);
  const addresses: StepJob['addresses'] = Object.create(null);
  const names: StepJob['names'] = Object.create(null);
  const repositories: StepJob['repositories'] = Object.create(null);
  const leftOut: string[] = [];
  const inputs = withViews(given, cell, scratch);
  for (const [role, { sources }] of Object.entries(inputs)) {
    const all = sources.map(({ path }) => path);
    paths[role] = cell.inputs[role]!.declaration.many ? all : all[0]!;
    for (const { path, name, address, repository } of sources) {
      names[path] = name;
      if (address !== undefined) addresses[path] = address;
      if (repository !== undefined) repositories[path] = repository;
    }
    leftOut.push(...sources.flatMap((source) => source.leftOut ?? []));
    const cells = sources.flatMap(({ origin }) => origin ?? []);
    if (cells.length > 0) origins[role] = cells;
  }
  return {
    module,
    options,
    inputs: paths,
    origins,
    addresses,
    names,
    repositories,
    leftOut,
    outputs,
    checkpoints: checkpoints!,
    folder: pipeline.folder,
    cell: { cell: cell.name, matrix: cell.matrix },
    seed: typeof options.seed === 'number' ? options.seed : Number.parseInt(fingerprint.slice(0, 8), 16) >>> 1,
  };
}
