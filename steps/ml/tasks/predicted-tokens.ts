/**
 * Tokens as labels. The generating tasks learn the next token at each position, and are evaluated on predicting it from
 * the true tokens before it; masked-lm predicts masked tokens.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import { PerExample } from '../metrics/per-example.ts';
import type { GeneratingTask } from '../models/config.ts';
import type { Example, TokensInfo } from '../models/token-dataset.ts';
import { type HostTensors, IGNORE_INDEX } from '../runtime/runtime.ts';
import { type Measurement, type Measuring, type Outputs, refuseNaN, type TaskKind } from './task.ts';

/** `encode` encodes a prompt or an input text. */
export function nextTokenTask(
  task: GeneratingTask,
  own: Pick<TaskKind, 'prepare' | 'encode' | 'baseline' | 'show' | 'card' | 'page'>,
): TaskKind<Predicted> {
  const refuse = (): never => {
    throw new StepError(`a model for ${task} generates texts, which predict does not do`, 'Use `tunesmith generate MODEL "a text"`.');
  };
  return {
    task,
    fields: [{ name: 'text' }],
    tokenizing: () => ({}),
    ...own,
    lossInputs: (inputs, _, info) => nextTokens(inputs, info),
    read: refuse,
    answer: refuse,
    measure: (measuring) =>
      measureTokens(measuring, {
        name: 'tokens',
        score: ({ losses, predictions }, p, label) => ({ loss: losses!.data[p]!, hit: predictions!.data[p] === label }),
        ...(task === 'seq2seq' && { label: (example) => example.target! }),
      }),
  };
}

/**
 * Finds the positions of a batch with `labels` [B, T] (−100: not in the loss) whose next token is learned:
 * `label_positions` [P] in the flat batch, and the next tokens as `labels` [P]. For seq2seq the labels are the target's ids, and `decoder_input_ids` are the same shifted by one
 * position.
 */
export function nextTokens(
  { labels: all, ...inputs }: HostTensors,
  { task, pad_token_id, decoder_start_token_id }: Pick<TokensInfo, 'task' | 'pad_token_id' | 'decoder_start_token_id'>,
): HostTensors {
  const [batch, length] = all!.shape as [number, number];
  const ids = all!.data as Int32Array;
  const shift = task === 'seq2seq' ? 0 : 1; // there the inputs themselves are shifted
  const positions: number[] = [];
  const labels: number[] = [];
  for (let row = 0; row < batch; row++)
    for (let i = shift; i < length; i++) {
      const label = ids[row * length + i]!;
      if (label === IGNORE_INDEX) continue;
      positions.push(row * length + i - shift);
      labels.push(label);
    }
  const given = { ...inputs, ...labelsAt(positions, labels) };
  if (task !== 'seq2seq') return given;
  const shifted = ids.map((_, i) =>
    i % length === 0 ? decoder_start_token_id! : ids[i - 1] === IGNORE_INDEX ? pad_token_id : ids[i - 1]!,
  );
  return { ...given, decoder_input_ids: { dtype: 'int32', shape: [batch, length], data: shifted } };
}

/** The labels at these positions of the flat batch; if there are none, one position that the loss ignores. */
export function labelsAt(positions: number[], labels: number[]): HostTensors {
  if (positions.length === 0) [positions[0], labels[0]] = [0, IGNORE_INDEX];
  return {
    label_positions: { dtype: 'int32', shape: [positions.length], data: Int32Array.from(positions) },
    labels: { dtype: 'int32', shape: [labels.length], data: Int32Array.from(labels) },
  };
}

/** For some tokens of one sequence. */
interface Predicted {
  loss: number;
  hits: number;
  tokens: number;
}

interface TokenMeasuring {
  /** What a report calls the predicted tokens. */
  name: 'tokens' | 'masks';
  /** The loss of the label at place `p` of `label_positions`, and whether it has the highest score. */
  score(outputs: Outputs, p: number, label: number): { loss: number; hit: boolean };
  /** The text that the tokens are, if a prediction contains it. */
  label?(example: Example): Json;
}

/** Measures how well labels at `label_positions` are predicted. */
export function measureTokens({ metrics }: Measuring, { name, score, label }: TokenMeasuring): Measurement<Predicted> {
  const sums = new PerExample(3);
  return {
    columns: { ...(label && { label: 'VARCHAR' }), tokens: 'BIGINT', loss: 'DOUBLE', accuracy: 'DOUBLE' },
    read(outputs, row, _, { input_ids, decoder_input_ids, label_positions, labels }) {
      const width = (decoder_input_ids ?? input_ids)!.shape[1]!;
      const predicted = { loss: 0, hits: 0, tokens: 0 };
      for (const [p, place] of label_positions!.data.entries()) {
        const label = labels!.data[p]!;
        if (label < 0 || Math.floor(place / width) !== row) continue;
        const { loss, hit } = score(outputs, p, label);
        refuseNaN(loss);
        predicted.loss += loss;
        predicted.hits += hit ? 1 : 0;
        predicted.tokens++;
      }
      return predicted;
    },
    add(example, _, results) {
      const [loss, hits, tokens] = [total(results, 'loss'), total(results, 'hits'), total(results, 'tokens')];
      sums.add([loss, hits, tokens]);
      return { ...(label && { label: label(example) }), tokens, loss: loss / tokens, accuracy: hits / tokens };
    },
    metrics(rows) {
      const [sum, hits, tokens] = sums.sums(rows) as unknown as [number, number, number];
      const loss = sum / tokens;
      const values: Record<string, number> = { perplexity: Math.exp(loss), accuracy: hits / tokens };
      return { loss, ...Object.fromEntries(metrics.map((name) => [name, values[name]!])) };
    },
    report: () => ({ [name]: sums.sums()[2]! }),
  };
}

const total = (results: readonly Predicted[], of: keyof Predicted): number => results.reduce((sum, one) => sum + one[of], 0);
