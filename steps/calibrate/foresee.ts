/** What calibrate cannot do, as far as the task and the labels say it. */

import type { OptionProblem } from '../../engine/contract/step.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';

/** The problem with calibrating a model of this kind. */
export function unfitFor(task: Task, problem: ProblemType): Omit<OptionProblem, 'option'> | undefined {
  const hint = 'It applies to text-classification with one label or any number of labels.';
  if (task !== 'text-classification') return { message: `calibrate does not apply to ${task}`, hint };
  if (problem === 'regression') return { message: 'calibrate does not apply to regression: a predicted number is not a probability', hint };
  return undefined;
}

/** The problem with a threshold if a text has one of this many labels. */
export function tooManyLabels(count: number): Omit<OptionProblem, 'option'> | undefined {
  if (count === 2) return undefined;
  return {
    message: `\`threshold\` needs two labels, or texts with any number of labels, and there are ${count} labels of which a text has one`,
    hint: 'Remove it: the label with the highest score is predicted. The temperature is fitted without it.',
  };
}
