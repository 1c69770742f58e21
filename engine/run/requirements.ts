/** What a cell needs in order to execute: CPU cores, GPUs, memory, and the secrets that it reads. */

import { type Cell, type Pipeline, type StepAction, writesToHub } from '../contract/cell.ts';
import { type Diagnostic, InvalidError } from '../contract/errors.ts';
import { hubAccount, StepError } from '../contract/step.ts';
import { variableIn } from '../pipeline/environment.ts';
import { subjectOf } from './freshness.ts';
import type { PlannedCell } from './plan.ts';
import type { Project } from './project.ts';
import type { MachineResources } from './scheduler.ts';

/** Something that a cell needs and does not have. */
interface Lack {
  /** Its position in the step. */
  path: (string | number)[];
  message: string;
  hint: string;
}

/**
 * Throws InvalidError if a cell that must run lacks something, so that nothing runs in vain. Reports a cell that may turn out to be
 * fresh, because it fails only if it must run.
 */
export async function checkRequirements(
  cells: Cell[],
  plan: Map<string, PlannedCell>,
  machine: MachineResources,
  pipeline: Pipeline,
  { cache, notice }: Project,
): Promise<void> {
  const mistakes: Diagnostic[] = [];
  const reported = new Set<string>();
  for (const cell of cells) {
    const { state } = plan.get(cell.name)!;
    const lacks = lacksOf(cell, machine);
    if (state === 'restore' || lacks.length === 0) continue;
    const isCertain = state === 'run' || cache.index.history(subjectOf(cell, pipeline), 1).length === 0;
    for (const { path, message, hint } of lacks) {
      const id = JSON.stringify([cell.step, path, isCertain]);
      if (reported.has(id)) continue;
      reported.add(id);
      if (isCertain) mistakes.push(await pipeline.locate(cell.step, path, message, hint));
      else notice(`${message}; ${cell.name} will fail if it must run. ${hint}`, cell.name);
    }
  }
  if (mistakes.length > 0) throw new InvalidError(mistakes);
}

/** What the cell lacks on this machine and in this environment. */
export function lacksOf(cell: Cell, machine: MachineResources, env: NodeJS.ProcessEnv = process.env): Lack[] {
  const { name, resources, secrets } = cell;
  const wanted = [
    { key: 'cpu', wanted: resources.cpu ?? 0, has: machine.cpu, hint: 'Ask for fewer.' },
    { key: 'gpu', wanted: resources.gpu ?? 0, has: machine.gpus.length, hint: '`tunesmith doctor` lists the GPUs.' },
    { key: 'memory', wanted: resources.memory ?? 0, has: machine.memory, hint: 'Ask for less.' },
  ];
  const tooMuch = wanted.flatMap(({ key, wanted, has, hint }): Lack[] => {
    if (wanted <= has) return [];
    const message = `${name} asks for ${amount(key, wanted)}, but this machine has ${has === 0 ? 'none' : amount(key, has)}`;
    return [{ path: ['resources', key], message, hint }];
  });
  const unset = secrets.flatMap((secret, i): Lack[] => {
    if (variableIn(env, secret) !== undefined) return [];
    const message = `the environment variable ${secret} is not set`;
    return [{ path: ['secrets', i], message, hint: `Set it before the run: export ${secret}=…` }];
  });
  return [...tooMuch, ...unset, ...(writesToHub(cell) ? hubLacks(cell) : [])];
}

function hubLacks({ action }: Cell): Lack[] {
  try {
    hubAccount();
    return [];
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    const { option } = (action as StepAction).definition.writesToHub!;
    return [{ path: ['with', option], message: error.message, hint: error.hint! }];
  }
}

function amount(key: string, count: number): string {
  if (key === 'memory') return `${(count / 1e9).toFixed(1)} GB of memory`;
  const one = key === 'gpu' ? 'GPU' : 'core';
  return `${count.toLocaleString('en-US')} ${one}${count === 1 ? '' : 's'}`;
}
