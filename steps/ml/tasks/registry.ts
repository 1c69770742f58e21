/** The tasks. To add one, write a file like text-classification.ts and add it to this list. */

import { StepError } from '../../../engine/step.ts';
import { taskMetrics, writtenMetrics } from '../metrics/registry.ts';
import { listed } from '../models/checkpoint.ts';
import type { ProblemType, Task } from '../models/family.ts';
import { causalLm } from './causal-lm.ts';
import { maskedLm } from './masked-lm.ts';
import { questionAnswering } from './question-answering.ts';
import { seq2seq } from './seq2seq.ts';
import type { TaskKind } from './task.ts';
import { textClassification } from './text-classification.ts';
import { tokenClassification } from './token-classification.ts';

const kinds: TaskKind<any>[] = [textClassification, tokenClassification, questionAnswering, maskedLm, causalLm, seq2seq];

export function taskKind(task: Task): TaskKind<any> {
  const found = kinds.find((kind) => kind.task === task);
  if (found) return found;
  throw new StepError(`the task ${JSON.stringify(task)} is unknown`, `Tasks: ${kinds.map((kind) => kind.task).join(', ')}.`);
}

/** The requested metrics if the task has them; by default its usual ones. */
export function metricNames(task: Task, problem: ProblemType, labels: string[], asked: string[] | undefined): readonly string[] {
  const { known, usual } = taskMetrics(task, problem, labels);
  refuseUnknown(task, asked, known);
  return asked ?? usual;
}

/** The same for evaluate, whose metrics may also need generated texts; these are returned separately. */
export function evaluationMetrics(
  task: Task,
  problem: ProblemType,
  labels: string[],
  asked: string[] | undefined,
): { names: readonly string[]; ofTexts: readonly string[] } {
  const { known, usual } = taskMetrics(task, problem, labels);
  const written = writtenMetrics(task);
  refuseUnknown(task, asked, [...written.known, ...known]);
  if (!asked) return { names: usual, ofTexts: written.usual };
  return { names: asked.filter((name) => known.includes(name)), ofTexts: asked.filter((name) => !known.includes(name)) };
}

function refuseUnknown(task: Task, asked: string[] | undefined, known: readonly string[]): void {
  const unknown = asked?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0) throw new StepError(`${task} has no metric ${listed(unknown)}`, `It has ${known.join(', ')}.`, ['metrics']);
}
