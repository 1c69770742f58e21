/**
 * masked-lm: masked language modelling (Devlin et al. 2018, section 3.1). Some tokens are masked, and the model
 * predicts them. Texts are used in full: a long one is split into windows.
 */

import type { Json } from '../../../engine/contract/step.ts';
import type { Row } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
import { random } from '../models/random.ts';
import type { TokensInfo } from '../models/token-dataset.ts';
import type { HostTensors } from '../runtime/runtime.ts';
import { warnEmpty } from './labels.ts';
import { labelsAt, measureTokens } from './predicted-tokens.ts';
import {
  best,
  encodeWindows,
  logSoftmax,
  longTextIsSplit,
  type Masking,
  type Outputs,
  objectSchema,
  type Preparation,
  type PreparationContext,
  rounded,
  shareSchema,
  type TaskKind,
} from './task.ts';

/** A token for a mask. The scores of all tokens for many masks would take too much memory. */
export interface Filled {
  id: number;
  score: number;
}

/** The places of the highest values, the highest first; the first of equals. Sorting a whole vocabulary would take longer than the model. */
function highest(values: ArrayLike<number>, count: number): number[] {
  const places: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (places.length === count && !(values[i]! > values[places.at(-1)!]!)) continue;
    let at = places.length;
    while (at > 0 && values[i]! > values[places[at - 1]!]!) at--;
    places.splice(at, 0, i);
    if (places.length > count) places.pop();
  }
  return places;
}

/** The best tokens of each mask of a sequence. */
export const maskedLm: TaskKind<Filled[][]> = {
  task: 'masked-lm',
  fields: [{ name: 'text' }],
  prepare,
  tokenizing: () => ({}),

  encode: encodeWindows,

  masks: true,
  lossInputs: maskTokens,

  read({ logits }, row, { ids }, { mask, fillings = 1, targets }) {
    const places = [...ids.keys()].filter((i) => ids[i] === mask!.id);
    return places.map((i) => {
      const own = logitsAt(logits!, row * logits!.shape[1]! + i);
      const first = best(own);
      const logs = logSoftmax(own);
      const tokens = targets
        ? highest(
            targets.map((id) => logs[id]!),
            fillings,
          ).map((t) => targets[t]!)
        : fillings === 1
          ? [first]
          : highest(logs, fillings);
      return tokens.map((id) => ({ id, score: rounded(Math.exp(logs[id]!)) }));
    });
  },

  async answer(_, __, results, { tokenizer }) {
    const fill: Json[] = [];
    for (const [{ id, score }] of results.flat() as [Filled][]) fill.push({ token: (await tokenizer.decodeToken(id)).trim(), score });
    return { fill };
  },

  measure: (measuring) =>
    measureTokens(measuring, {
      name: 'masks',
      score({ logits }, p, label) {
        const own = logitsAt(logits!, p);
        return { loss: -logSoftmax(own)[label]!, hit: best(own) === label };
      },
    }),
  card: {
    hubTask: 'fill-mask',
    purpose: () => 'predicts masked words',
    longInput: longTextIsSplit,
    example: (_, mask) => ({ input: `a ${mask} text`, answer: { fill: [{ token: 'short', score: 0.4 }] } }),
  },
  page: { button: 'Fill in', title: () => 'Fills in masked words' },
  answerSchema() {
    const filled = objectSchema({ token: { type: 'string' }, score: shareSchema });
    return objectSchema({ fill: { type: 'array', description: 'One entry per mask.', items: filled } });
  },
};

/* Rows: texts without labels. */

interface Text extends Row {
  id: string;
  text: string;
}

async function prepare(source: PreparationContext): Promise<Preparation<Text>> {
  const text = source.options.text ?? 'text';
  requireColumn(source.columns, text, 'text');
  await warnEmpty(source, [text]);
  return {
    labels: [],
    fields: { text },
    paired: false,
    columns: {},
    select: { text: `coalesce(${quote(text)}::VARCHAR, '')` },
    async encode(rows, read) {
      const windows = await read(rows.map(({ text }) => ({ text })));
      return rows.map(({ id }, i) => ({
        example: { id },
        sequences: windows[i]!.map((sequence) => ({ sequence, values: {} })),
        truncated: false,
      }));
    },
  };
}

/* Loss inputs: training decides which tokens are masked, anew in each epoch. */

/**
 * Masks tokens of a batch: of those that are chosen, 80% become the mask, 10% a random token, and 10% stay. The
 * choice is a function of (seed, epoch, sequence) alone. With `continuations` a whole word is chosen or not, and each of
 * its tokens is masked for itself, as in BERT. Adds `label_positions` [P] and the original ids as `labels` [P].
 */
function maskTokens(
  inputs: HostTensors,
  sequences: Int32Array,
  { mask_token_id, special_ids = [] }: Pick<TokensInfo, 'mask_token_id' | 'special_ids'>,
  { probability, vocabulary, continuations, seed, epoch }: Masking,
): HostTensors {
  const { input_ids, attention_mask } = inputs;
  const [batch, length] = input_ids!.shape as [number, number];
  const ids = Int32Array.from(input_ids!.data);
  const special = new Set(special_ids);
  const positions: number[] = [];
  const labels: number[] = [];
  for (const [row, sequence] of sequences.entries()) {
    const uniform = random('mask', seed, epoch, sequence);
    let chosen: boolean | undefined; // undefined before the first token of a word
    for (let i = row * length; i < (row + 1) * length; i++) {
      if (attention_mask!.data[i] === 0) break;
      if (special.has(ids[i]!)) {
        chosen = undefined;
        continue;
      }
      if (chosen === undefined || !continuations?.has(ids[i]!)) chosen = uniform() < probability;
      if (!chosen) continue;
      positions.push(i);
      labels.push(ids[i]!);
      const draw = uniform();
      if (draw < 0.8) ids[i] = mask_token_id!;
      else if (draw < 0.9) ids[i] = Math.floor(uniform() * vocabulary);
    }
  }
  return { ...inputs, input_ids: { dtype: 'int32', shape: [batch, length], data: ids }, ...labelsAt(positions, labels) };
}

/** The logits of the token at place `p`, of which all but the last axis of the output count. */
function logitsAt({ data, shape }: Outputs[string], p: number): Float32Array {
  const width = shape.at(-1)!;
  return Float32Array.from({ length: width }, (_, k) => data[p * width + k]!);
}
