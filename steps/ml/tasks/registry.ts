/** The tasks. To add one, write a file like text-classification.ts and add it to this list. */

import { StepError } from '../../../engine/step.ts';
import type { Task } from '../models/config.ts';
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
