/**
 * Shared by causal-lm and seq2seq: the model learns the next token at each position, and is evaluated on predicting
 * it from the true tokens before it. Free-running generation is in `tunesmith generate`.
 */

import { type Json, StepError } from '../../../engine/step.ts';
import type { GeneratingTask } from '../models/config.ts';
import type { TokensInfo } from '../models/token-dataset.ts';
import { type HostTensors, IGNORE_INDEX } from '../runtime/runtime.ts';
import type { Measurement, Measuring, TaskKind } from './task.ts';

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
    measure,
  };
}

/**
 * Finds the positions of a batch with `labels` [B, T] (−100: not in the loss) whose next token is learned:
 * `label_positions` [P] in the flat batch, and the next tokens as `labels` [P]; if there is none, one position that
 * the loss ignores. For seq2seq the labels are the target's ids, and `decoder_input_ids` are the same shifted by one
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
  if (positions.length === 0) [positions[0], labels[0]] = [0, IGNORE_INDEX];
  const given: HostTensors = {
    ...inputs,
    label_positions: { dtype: 'int32', shape: [positions.length], data: Int32Array.from(positions) },
    labels: { dtype: 'int32', shape: [labels.length], data: Int32Array.from(labels) },
  };
  if (task !== 'seq2seq') return given;
  const shifted = ids.map((_, i) =>
    i % length === 0 ? decoder_start_token_id! : ids[i - 1] === IGNORE_INDEX ? pad_token_id : ids[i - 1]!,
  );
  return { ...given, decoder_input_ids: { dtype: 'int32', shape: [batch, length], data: shifted } };
}

/** For one sequence. */
interface Predicted {
  loss: number;
  hits: number;
  tokens: number;
}

function measure({ metrics }: Measuring): Measurement<Predicted> {
  let all = NOTHING;
  return {
    read({ losses, predictions }, row, _, { input_ids, decoder_input_ids, label_positions, labels }) {
      const width = (decoder_input_ids ?? input_ids)!.shape[1]!;
      const predicted = { ...NOTHING };
      for (const [p, place] of label_positions!.data.entries()) {
        const label = labels!.data[p]!;
        if (label < 0 || Math.floor(place / width) !== row) continue;
        predicted.loss += losses!.data[p]!;
        predicted.hits += predictions!.data[p] === label ? 1 : 0;
        predicted.tokens++;
      }
      return predicted;
    },
    add(_, __, results) {
      const { loss, hits, tokens } = sumOf(results);
      all = sumOf([all, ...results]);
      return { tokens, hits, loss } satisfies Record<string, Json>;
    },
    metrics() {
      const loss = all.loss / all.tokens;
      const values: Record<string, number> = { perplexity: Math.exp(loss), accuracy: all.hits / all.tokens };
      return { loss, ...Object.fromEntries(metrics.map((name) => [name, values[name]!])) };
    },
    report: () => ({ tokens: all.tokens }),
  };
}

const NOTHING: Predicted = { loss: 0, hits: 0, tokens: 0 };

const sumOf = (results: readonly Predicted[]): Predicted =>
  results.reduce((a, b) => ({ loss: a.loss + b.loss, hits: a.hits + b.hits, tokens: a.tokens + b.tokens }), NOTHING);

/** The perplexity of a language model: the exponential of the mean loss per token, in nats, over all predicted tokens. */
export interface Perplexity {
  /** The summed loss of `tokens` tokens. */
  add(loss: number, tokens: number): void;
  /** The mean loss per token. */
  loss(): number;
  value(): number;
}

/** Weighted by tokens: a short block counts less than a full one. */
export function perplexity(): Perplexity {
  let [sum, count] = [0, 0];
  return {
    add(loss, tokens) {
      sum += loss;
      count += tokens;
    },
    loss: () => sum / count,
    value: () => Math.exp(sum / count),
  };
}
