/**
 * Tokens as labels. The generating tasks learn the next token at each position, and are evaluated on predicting it from
 * the true tokens before it; masked-lm predicts masked tokens.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import type { GeneratingTask } from '../models/config.ts';
import type { TokensInfo } from '../models/token-dataset.ts';
import { type HostTensors, IGNORE_INDEX } from '../runtime/runtime.ts';
import type { Measurement, Measuring, Outputs, TaskKind } from './task.ts';

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
        line: ({ tokens, hits, loss }) => ({ tokens, hits, loss }),
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
  line(sum: Predicted): Record<string, Json>;
}

/** Measures how well labels at `label_positions` are predicted. */
export function measureTokens({ metrics }: Measuring, { name, score, line }: TokenMeasuring): Measurement<Predicted> {
  let all = NOTHING;
  return {
    read(outputs, row, _, { input_ids, decoder_input_ids, label_positions, labels }) {
      const width = (decoder_input_ids ?? input_ids)!.shape[1]!;
      const predicted = { ...NOTHING };
      for (const [p, place] of label_positions!.data.entries()) {
        const label = labels!.data[p]!;
        if (label < 0 || Math.floor(place / width) !== row) continue;
        const { loss, hit } = score(outputs, p, label);
        predicted.loss += loss;
        predicted.hits += hit ? 1 : 0;
        predicted.tokens++;
      }
      return predicted;
    },
    add(_, __, results) {
      all = sumOf([all, ...results]);
      return line(sumOf(results));
    },
    metrics() {
      const loss = all.loss / all.tokens;
      const values: Record<string, number> = { perplexity: Math.exp(loss), accuracy: all.hits / all.tokens };
      return { loss, ...Object.fromEntries(metrics.map((name) => [name, values[name]!])) };
    },
    report: () => ({ [name]: all.tokens }),
  };
}

const NOTHING: Predicted = { loss: 0, hits: 0, tokens: 0 };

const sumOf = (results: readonly Predicted[]): Predicted =>
  results.reduce((a, b) => ({ loss: a.loss + b.loss, hits: a.hits + b.hits, tokens: a.tokens + b.tokens }), NOTHING);

/** The exponential of the mean loss per token, in nats, over all predicted tokens: a short block counts less than a full one. */
export function perplexity() {
  let [sum, count] = [0, 0];
  return {
    /** The summed loss of `tokens` tokens. */
    add(loss: number, tokens: number): void {
      sum += loss;
      count += tokens;
    },
    /** The mean loss per token. */
    loss: () => sum / count,
    value: () => Math.exp(sum / count),
  };
}
