/** The part of the model card about calibration.json. */

import type { ModelCalibration, Thresholds } from '../ml/models/calibration.ts';
import type { Model } from '../ml/models/model-folder.ts';
import type { InputAndAnswer } from '../ml/tasks/task.ts';
import { code, fenced, plain, table } from './markdown.ts';

export function aboutCalibration(
  { problem }: Pick<Model, 'problem'>,
  { temperature, thresholds, group, group_thresholds, fitted_on, rows, ece }: ModelCalibration,
): string[] {
  const otherwise = problem === 'multi_label_classification' ? '' : ' Otherwise the other label is predicted.';
  const parts = [
    '## Calibration',
    `The logits are divided by the temperature ${short(temperature)} before they become scores. It was fitted on ${rows} rows of the split ${code(fitted_on)}, where the expected calibration error is ${ece.before.toFixed(4)} without and ${ece.after.toFixed(4)} with it. ${code('calibration.json')} has the exact values; ${code('tunesmith serve')} and ${code('predict')} apply it.`,
  ];
  if (!thresholds) return parts;
  const rowsOf = (each: Thresholds, value?: string) =>
    Object.entries(each).map(([label, threshold]) => [...(value === undefined ? [] : [value]), plain(label), short(threshold)]);
  if (group === undefined)
    return [
      ...parts,
      `A label is predicted if its score reaches the threshold.${otherwise}`,
      table(['label', 'threshold'], rowsOf(thresholds)),
    ];
  return [
    ...parts,
    `A label is predicted if its score reaches the threshold, which depends on ${code(group)}.${otherwise} Every input needs this field; null means that the value is missing.`,
    table(
      [code(group), 'label', 'threshold'],
      [
        ...Object.entries(group_thresholds!).flatMap(([value, each]) => rowsOf(each, plain(value))),
        ...rowsOf(thresholds, 'any other value, or none'),
      ],
    ),
  ];
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

/** transformers' pipeline knows neither temperature nor thresholds. */
export function useCalibrated(
  { problem }: Pick<Model, 'problem'>,
  { thresholds, group }: ModelCalibration,
  input: InputAndAnswer['input'],
  args: string,
): string {
  const texts = typeof input === 'string' ? [input] : Object.values(input);
  const several = problem === 'multi_label_classification';
  const lines = [
    'import json',
    '',
    'import torch',
    'from transformers import AutoModelForSequenceClassification, AutoTokenizer',
    '',
    'calibration = json.load(open("calibration.json"))',
    'tokenizer = AutoTokenizer.from_pretrained(".")',
    'model = AutoModelForSequenceClassification.from_pretrained(".")',
    `inputs = tokenizer(${texts.map((text) => JSON.stringify(text)).join(', ')}, return_tensors="pt"${args})`,
    'with torch.no_grad():',
    '    logits = model(**inputs).logits[0] / calibration["temperature"]',
    `scores = dict(zip(model.config.id2label.values(), logits.${several ? 'sigmoid()' : 'softmax(-1)'}.tolist()))`,
    ...(thresholds
      ? [
          `thresholds = ${group === undefined ? 'calibration["thresholds"]' : `calibration["group_thresholds"].get("…", calibration["thresholds"])  # for the ${JSON.stringify(group)} of the text`}`,
        ]
      : []),
    ...decision(several, thresholds !== undefined),
  ];
  return fenced('python', lines.join('\n'));
}

function decision(several: boolean, byThreshold: boolean): string[] {
  if (several)
    return [`labels = [label for label, score in scores.items() if score ${byThreshold ? '>= thresholds.get(label, 0.5)' : '> 0.5'}]`];
  if (!byThreshold) return ['label = max(scores, key=scores.get)'];
  return [
    '[(positive, threshold)] = thresholds.items()',
    'label = positive if scores[positive] >= threshold else next(other for other in scores if other != positive)',
  ];
}
