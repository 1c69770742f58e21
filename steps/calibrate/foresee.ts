/** What calibrate cannot do, as far as the task and the labels say it. */

import type { OptionProblem } from '../../engine/contract/step.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';

/** The option `threshold`, as its schema types it. */
export type ThresholdOption = { maximize?: string; precision?: string; recall?: string };

/** The number of a requirement such as ">= 0.95"; undefined if it is not one. */
export function requiredShare(requirement: string): number | undefined {
  const share = /^>=\s*(\d*\.?\d+)$/.exec(requirement.trim())?.[1];
  return share === undefined || Number(share) > 1 ? undefined : Number(share);
}

export function thresholdProblems(threshold: ThresholdOption): OptionProblem[] {
  const given = Object.entries(threshold);
  if (given.length > 1)
    return [
      {
        option: 'threshold',
        message: `\`threshold\` has ${given.map(([name]) => name).join(' and ')}, but a threshold is chosen by one of them`,
        hint: 'A required precision is reached with the highest recall, and a required recall with the highest precision.',
      },
    ];
  return given.flatMap(([name, value]) =>
    name === 'maximize' || requiredShare(value) !== undefined
      ? []
      : [
          {
            option: `threshold.${name}`,
            message: `"threshold.${name}" is "${value}", but must be written as ">= 0.95", with a number from 0 to 1`,
          },
        ],
  );
}

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
    hint: 'A threshold for one label does not say which of the other labels is predicted below it. Remove `threshold`: the label with the highest score is predicted, and the temperature is fitted.',
  };
}
