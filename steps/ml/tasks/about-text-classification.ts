/** What a model card, the web page and the description of the API say about text-classification. */

import type { ModelCalibration } from '../models/calibration.ts';
import type { Encoding } from '../models/token-dataset.ts';
import { type CardSubject, type InputAndAnswer, type Labelling, objectSchema, type PageSubject, shareSchema } from './task.ts';

export function purpose({ problem, texts, labels, oneLabel }: CardSubject): string {
  if (problem === 'regression') return `predicts a number for ${texts}`;
  if (problem === 'multi_label_classification') return `assigns any of the labels ${labels} to ${texts}`;
  return `classifies ${texts} as ${oneLabel}`;
}

export function example({ problem, labels }: Labelling): InputAndAnswer {
  const scores = Object.fromEntries(labels.slice(0, 3).map((label, i) => [label, i === 0 ? 0.98 : 0.01]));
  if (problem === 'regression') return { input: 'a text', answer: { score: 1.5 } };
  if (problem === 'multi_label_classification') return { input: 'a text', answer: { labels: labels.slice(0, 1), scores } };
  return { input: 'a text', answer: { label: labels[0], scores } };
}

export function pythonArguments({ truncation = 'longest_first', max_length }: Partial<Encoding>): string {
  return `, truncation=${truncation === 'longest_first' ? 'True' : `"${truncation}"`}${max_length ? `, max_length=${max_length}` : ''}`;
}

export function title({ problem, labels, texts, names }: PageSubject): string {
  if (problem === 'regression') return `Scores ${texts}`;
  if (problem === 'multi_label_classification') return `Labels ${texts} with any of ${names(labels, 'and')}`;
  return `Classifies ${texts} as ${names(labels, 'or')}`;
}

export function answerSchema({ problem, labels, calibration }: Labelling): object {
  const label = { type: 'string', enum: labels };
  const scores = objectSchema(Object.fromEntries(labels.map((each) => [each, shareSchema])));
  if (problem === 'regression') return objectSchema({ score: { type: 'number' } });
  if (problem === 'multi_label_classification')
    return objectSchema({ labels: { type: 'array', items: label, description: labelsAre(calibration) }, scores });
  return objectSchema({
    label: { ...label, description: labelIs(calibration) },
    scores: { ...scores, description: 'The probability of each label; the probabilities sum to 1.' },
  });
}

function labelIs(calibration: ModelCalibration | undefined): string {
  const [label, threshold] = Object.entries(calibration?.thresholds ?? {})[0] ?? [];
  if (label === undefined) return 'The label with the highest probability.';
  return `"${label}" if its score reaches ${calibration!.group === undefined ? `the threshold ${threshold}` : `the threshold for the \`${calibration!.group}\` of the input`}, otherwise the other label.`;
}

function labelsAre(calibration: ModelCalibration | undefined): string {
  if (!calibration?.thresholds) return 'The labels with a score above one half.';
  const group = calibration.group === undefined ? '' : ` for the \`${calibration.group}\` of the input`;
  return `The labels whose scores reach their thresholds${group}.`;
}
