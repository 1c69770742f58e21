/** Loss weights: how much each class counts, and each part of a batch. */

import { StepError } from '../../engine/contract/step.ts';
import { isGenerating, oneLabel, type ProblemType, type Task, taskFacts } from '../ml/models/config.ts';
import type { Split, TokensInfo } from '../ml/models/token-dataset.ts';
import { type HostTensors, IGNORE_INDEX } from '../ml/runtime/runtime.ts';

export type ClassWeights = 'balanced' | Record<string, number>;

/** The tasks whose examples, or tokens, have one label of several. */
export const oneOfSeveral = (task: Task, problem: ProblemType): boolean => taskFacts(task).labelled === 'token' || oneLabel(task, problem);

/** The weight of each class; `balanced` is scikit-learn's formula: all labels / (classes · labels of the class). */
export function classWeightsOf(weights: ClassWeights, info: TokensInfo, split: Split): Float32Array {
  const { labels } = info;
  if (weights !== 'balanced') {
    const unknown = Object.keys(weights).filter((name) => !labels.includes(name));
    const missing = labels.filter((name) => !Object.hasOwn(weights, name));
    if (unknown.length + missing.length > 0)
      throw new StepError(
        unknown.length > 0 ? `there is no label ${unknown.join(', ')}` : `class_weights has no weight for ${missing.join(', ')}`,
        `The labels are ${labels.join(', ')}.`,
        ['class_weights'],
      );
    return Float32Array.from(labels, (name) => weights[name]!);
  }
  const counts = new Array<number>(labels.length).fill(0);
  for (let sequence = 0; sequence < split.sequences; sequence++)
    for (const label of labelsOf(split, sequence)) if (label >= 0) counts[label]!++;
  const empty = labels.filter((_, i) => counts[i] === 0);
  if (empty.length > 0)
    throw new StepError(
      `class_weights: balanced gives no weight to ${empty.join(', ')}, because the training split has no row with that label`,
      undefined,
      ['class_weights'],
    );
  const all = counts.reduce((sum, count) => sum + count, 0);
  return Float32Array.from(counts, (count) => all / (labels.length * count));
}

/** Rejects labels that the model has no output for: they would silently be left out of the loss. */
export function checkLabels(split: Split, { task, problem_type = 'single_label_classification', labels }: TokensInfo): void {
  const { labelled } = taskFacts(task);
  for (let sequence = 0; sequence < split.sequences; sequence++) {
    const [own, end, what] =
      labelled === 'answer'
        ? [positionsOf(split, sequence), split.length(sequence), 'answer position']
        : oneOfSeveral(task, problem_type)
          ? [labelsOf(split, sequence), labels.length, 'label']
          : isGenerating(task)
            ? [labelsOf(split, sequence), split.highestId + 1, 'label']
            : [[], 0, ''];
    if (isGenerating(task) && own.every((label) => label === IGNORE_INDEX))
      throw new StepError(
        `sequence ${sequence} of the tokens has no label: nothing can be learned from it`,
        'Its target consists of padding only. The tokens are damaged, or tokenize did not make them: tokenize again.',
      );
    for (const label of own)
      if ((label < 0 && !(label === IGNORE_INDEX && (labelled === 'token' || isGenerating(task)))) || label >= end)
        throw new StepError(
          `sequence ${sequence} of the tokens has the ${what} ${label}, which must be between 0 and ${end - 1}`,
          'The tokens are damaged, or tokenize did not make them: tokenize again.',
        );
  }
}

const positionsOf = (split: Split, sequence: number): number[] =>
  ['start_positions', 'end_positions'].flatMap((name) => Array.from(split.values(name, sequence)!));

/** The class of each sequence. */
export const classesOf = (split: Split): Int32Array =>
  Int32Array.from({ length: split.sequences }, (_, sequence) => labelsOf(split, sequence)[0]!);

function labelsOf(split: Split, sequence: number): Int32Array {
  const own = split.values('labels', sequence);
  if (own) return own as Int32Array;
  const labels = new Int32Array(split.length(sequence, split.kindOf('labels')));
  split.read('labels', sequence, labels, 0);
  return labels;
}

/** The share of each part of a batch in its loss, the weighted mean over all labels of the batch, not the mean of its parts' means. */
export function lossSharesOf(parts: readonly HostTensors[], classWeights: Float32Array | undefined): number[] {
  const counted = parts.map(({ labels, input_ids, loss_weights: rows }) => {
    if (labels?.dtype !== 'int32') return input_ids!.shape[0]!; // numbers, sets of labels, answers: each row counts as one
    let sum = 0;
    for (const [i, label] of labels.data.entries()) if (label >= 0) sum += (classWeights?.[label] ?? 1) * (rows?.data[i] ?? 1);
    return sum;
  });
  const all = counted.reduce((sum, count) => sum + count, 0);
  return counted.map((count) => (all > 0 ? count / all : 1 / parts.length));
}
