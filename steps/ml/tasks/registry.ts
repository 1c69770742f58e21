/** What each task does. CONTRIBUTING.md says how to add one. */

import { StepError } from '../../../engine/contract/step.ts';
import type { Task } from '../models/config.ts';
import { causalLm } from './causal-lm.ts';
import { maskedLm } from './masked-lm.ts';
import { questionAnswering } from './question-answering.ts';
import { seq2seq } from './seq2seq.ts';
import type { TaskKind } from './task.ts';
import { textClassification } from './text-classification.ts';
import { tokenClassification } from './token-classification.ts';

const kinds: Record<Task, TaskKind<any>> = {
  'text-classification': textClassification,
  'token-classification': tokenClassification,
  'question-answering': questionAnswering,
  'masked-lm': maskedLm,
  'causal-lm': causalLm,
  seq2seq,
};

export function taskKind(task: Task): TaskKind<any> {
  if (Object.hasOwn(kinds, task)) return kinds[task];
  throw new StepError(`the task ${JSON.stringify(task)} is unknown`, `Tasks: ${Object.keys(kinds).join(', ')}.`);
}
