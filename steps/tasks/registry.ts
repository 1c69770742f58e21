/** The tasks. A new one is a file like text-classification.ts and a name in this list. */
import { StepError } from '../../engine/step.ts';
import type { Task } from '../models/family.ts';
import { maskedLm } from './masked-lm.ts';
import { questionAnswering } from './question-answering.ts';
import type { TaskKind } from './task.ts';
import { textClassification } from './text-classification.ts';
import { tokenClassification } from './token-classification.ts';

const kinds: TaskKind<any>[] = [textClassification, tokenClassification, questionAnswering, maskedLm];

export function taskKind(task: Task): TaskKind<any> {
  const found = kinds.find((kind) => kind.task === task);
  if (found) return found;
  throw new StepError(`the task ${JSON.stringify(task)} is not known`, `Known: ${kinds.map((kind) => kind.task).join(', ')}.`);
}
