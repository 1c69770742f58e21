/**
 * Answers in the form of transformers' pipelines, as Hugging Face's inference API gives them. They are computed from the outputs of the
 * model, because some of their parameters cannot be applied to an answer of our own. Positions count characters, as in Python.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import { mean } from '../metrics/counts.ts';
import { calibratedLogits } from '../models/calibration.ts';
import type { Sequence, Tokenizer } from '../models/tokenizer.ts';
import type { EncodedInput } from '../tasks/encoder.ts';
import type { Filled } from '../tasks/masked-lm.ts';
import type { Ends } from '../tasks/question-answering.ts';
import { taskKind } from '../tasks/registry.ts';
import { type Answering, best, logSoftmax, rounded } from '../tasks/task.ts';
import type { Bundle } from './bundle.ts';
import { foundAnswers, type QuestionParameters } from './pipeline-question.ts';

/** The parameters of all pipelines, as their names are there. */
export interface PipelineParameters extends QuestionParameters {
  /** How many labels, tokens or answers are given. */
  top_k?: number;
  function_to_apply?: (typeof FUNCTIONS)[number];
  aggregation_strategy?: (typeof STRATEGIES)[number];
  ignore_labels?: string[];
  /** The only tokens that may replace a mask. */
  targets?: string | string[];
}

export const FUNCTIONS = ['softmax', 'sigmoid', 'none'] as const;
export const STRATEGIES = ['none', 'simple', 'first', 'average', 'max'] as const;

/** The parameters of each task's pipeline. */
export const PARAMETERS: Partial<Record<Bundle['task'], readonly (keyof PipelineParameters)[]>> = {
  'text-classification': ['function_to_apply', 'top_k'],
  'token-classification': ['aggregation_strategy', 'ignore_labels'],
  'question-answering': [
    'top_k',
    'doc_stride',
    'max_answer_len',
    'max_seq_len',
    'max_question_len',
    'handle_impossible_answer',
    'align_to_words',
  ],
  'masked-lm': ['top_k', 'targets'],
};

/** The default of the pipeline for masks. */
export const TOKENS_OF_MASK = 5;

/** Each token of each mask is answered with a filled text. @throws StepError if these are too many */
export function checkFilled(sequences: readonly Sequence[], mask: number, { top_k = TOKENS_OF_MASK }: PipelineParameters): void {
  const masks = sequences.reduce((sum, { ids }) => sum + ids.filter((id) => id === mask).length, 0);
  if (masks * top_k > mostFilled)
    throw new StepError(
      `the text has ${masks} masks, and ${top_k} tokens for each make ${masks * top_k} filled texts, but at most ${mostFilled} are allowed: send fewer masks, or lower top_k`,
    );
}

const mostFilled = 500;

/** How many tokens of a mask are answered, and of which. */
export async function fillingOf(
  pipeline: PipelineParameters | undefined,
  tokenizer: Tokenizer,
): Promise<{ fillings: number; targets?: number[] }> {
  if (!pipeline) return { fillings: 1 };
  const targets = await targetsOf(pipeline, tokenizer);
  return { fillings: pipeline.top_k ?? TOKENS_OF_MASK, ...(targets && { targets }) };
}

/** The tokens of the targets. A target that is no token is its first token, as in transformers. @throws StepError if none has a token */
export async function targetsOf({ targets }: PipelineParameters, tokenizer: Tokenizer): Promise<number[] | undefined> {
  if (targets === undefined) return undefined;
  const ids = await Promise.all(
    [targets].flat().map(async (target) => {
      const known = tokenizer.idOf(target);
      if (known !== undefined) return known;
      const [{ ids, sequenceIds }] = (await tokenizer.encode([target])) as [Sequence];
      return ids.find((_, i) => sequenceIds[i] !== null);
    }),
  );
  const found = [...new Set(ids.filter((id) => id !== undefined))];
  if (found.length === 0) throw new StepError('"parameters.targets" contains no token of the vocabulary');
  return found;
}

export async function pipelineAnswer(
  task: Bundle['task'],
  encoded: EncodedInput,
  results: unknown[],
  answering: Answering,
  parameters: PipelineParameters,
): Promise<Json> {
  if (task === 'text-classification') return classified(encoded, results as Float32Array[], answering, parameters);
  if (task === 'token-classification') return entities(encoded, results as Float32Array[], answering, parameters);
  if (task === 'masked-lm') return filled(encoded, results as Filled[][][], answering);
  if (task === 'question-answering') return foundAnswers(encoded, results as Ends[], parameters, codePoints(encoded.input.context!));
  throw new StepError(`a model for ${task} has no such answer`);
}

/** All labels, the most probable first. If a threshold decides the label, the decided label is first. */
async function classified(
  { input, sequences }: EncodedInput,
  results: Float32Array[],
  answering: Answering,
  { function_to_apply, top_k }: PipelineParameters,
): Promise<Json> {
  const { labels, problem, calibration } = answering;
  const logits = calibratedLogits(results[0]!, calibration);
  const usual = problem === 'regression' ? 'none' : problem === 'multi_label_classification' ? 'sigmoid' : 'softmax';
  const scores = SCORES[function_to_apply ?? usual](logits);
  const order = [...labels.keys()].sort((a, b) => scores[b]! - scores[a]!);
  if (calibration?.thresholds && problem === 'single_label_classification') {
    const { label } = (await taskKind('text-classification').answer(input, sequences, results, answering)) as { label: string };
    const decided = labels.indexOf(label);
    order.splice(0, order.length, decided, ...order.filter((i) => i !== decided));
  }
  best(scores); // refuses scores that are not numbers
  return order.slice(0, top_k).map((i) => ({ label: labels[i]!, score: rounded(scores[i]!) }));
}

const SCORES: Record<(typeof FUNCTIONS)[number], (logits: ArrayLike<number>) => ArrayLike<number>> = {
  softmax: (logits) => logSoftmax(logits).map(Math.exp),
  sigmoid: (logits) => Float64Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit))),
  none: (logits) => logits,
};

/** A token, or a word of several, with the probabilities of its labels. */
interface Tagged {
  pieces: Piece[];
  scores: Float64Array;
  start: number;
  end: number;
  /** The place of the token in its sequence. */
  index: number;
  continues: boolean;
}

/** A token; `text` if the vocabulary cannot write it. */
interface Piece {
  id: number;
  text?: string;
}

interface Entity {
  label: string;
  score: number;
  pieces: Piece[];
  start: number;
  end: number;
  index: number;
}

async function entities(
  { input, sequences }: EncodedInput,
  results: Float32Array[],
  { labels, tokenizer }: Answering,
  { aggregation_strategy = 'simple', ignore_labels = ['O'] }: PipelineParameters,
): Promise<Json> {
  const text = input.text!;
  const place = codePoints(text);
  const found = sequences.flatMap((sequence, w) => {
    const tokens = tokensOf(sequence, results[w]!, labels.length, { text, tokenizer });
    if (aggregation_strategy === 'none' || aggregation_strategy === 'simple') return tokens.map((token) => entityOf(token, labels));
    return wordsOf(tokens).map((word) => entityOfWord(word, aggregation_strategy, labels));
  });
  if (aggregation_strategy === 'none')
    return Promise.all(
      found
        .filter(({ label }) => !ignore_labels.includes(label))
        .map(({ label, score, pieces: [piece], start, end, index }) => {
          const word = piece!.text ?? tokenizer.tokenOf(piece!.id);
          return { entity: label, score: rounded(score), index, word, start: place(start), end: place(end) };
        }),
    );
  const groups = groupsOf(found).filter(([first]) => !ignore_labels.includes(typeOf(first!.label)));
  return Promise.all(
    groups.map(async (group) => ({
      entity_group: typeOf(group[0]!.label),
      score: rounded(mean(group.map(({ score }) => score))),
      word: await written(
        group.flatMap(({ pieces }) => pieces),
        tokenizer,
      ),
      start: place(group[0]!.start),
      end: place(group.at(-1)!.end),
    })),
  );
}

function tokensOf(
  { ids, spans, sequenceIds, wordIds }: Sequence,
  logits: Float32Array,
  width: number,
  { text, tokenizer: { prefixed, unknownId } }: { text: string; tokenizer: Tokenizer },
): Tagged[] {
  return ids.flatMap((id, index) => {
    if (sequenceIds[index] === null) return [];
    const [start, end] = spans[index]!;
    // Without a mark of tokens inside words, transformers takes all that no space separates for one word.
    const unknown = id === unknownId;
    const continues = unknown
      ? false
      : prefixed
        ? wordIds[index] !== null && wordIds[index] === wordIds[index - 1]
        : start > 0 && !text.slice(start - 1, start + 1).includes(' ');
    return [
      {
        pieces: [{ id, ...(unknown && { text: text.slice(start, end) }) }],
        scores: logSoftmax(logits.subarray(index * width, (index + 1) * width)).map(Math.exp),
        start,
        end,
        index,
        continues,
      },
    ];
  });
}

/** The text of tokens, with the original text of those that the vocabulary cannot write. */
async function written(pieces: Piece[], tokenizer: Tokenizer): Promise<string> {
  const parts: string[] = [];
  for (let i = 0; i < pieces.length; ) {
    const end = pieces.findIndex(({ text }, k) => k >= i && text !== undefined);
    const known = pieces.slice(i, end < 0 ? pieces.length : end);
    if (known.length > 0) parts.push(await tokenizer.decode(known.map(({ id }) => id)));
    if (end >= 0) parts.push(pieces[end]!.text!);
    i += known.length + (end < 0 ? 0 : 1);
  }
  return parts.length === 1 ? parts[0]! : parts.join(' ').replaceAll(/ (?=[.?!,])/g, '');
}

function wordsOf(tokens: Tagged[]): Tagged[][] {
  const words: Tagged[][] = [];
  for (const token of tokens) {
    if (words.length > 0 && token.continues) words.at(-1)!.push(token);
    else words.push([token]);
  }
  return words;
}

function entityOf({ scores, ...token }: Tagged, labels: string[]): Entity {
  const id = best(scores);
  return { ...token, label: labels[id]!, score: scores[id]! };
}

function entityOfWord(tokens: Tagged[], strategy: 'first' | 'average' | 'max', labels: string[]): Entity {
  const highest = ({ scores }: Tagged) => Math.max(...scores);
  const scores =
    strategy === 'first'
      ? tokens[0]!.scores
      : strategy === 'max'
        ? tokens.reduce((most, token) => (highest(token) > highest(most) ? token : most)).scores
        : Float64Array.from(labels, (_, i) => mean(tokens.map((token) => token.scores[i]!)));
  return entityOf({ ...tokens[0]!, pieces: tokens.flatMap(({ pieces }) => pieces), scores, end: tokens.at(-1)!.end }, labels);
}

/** Adjacent entities of one type are one, unless the next begins with B-. */
function groupsOf(found: Entity[]): Entity[][] {
  const groups: Entity[][] = [];
  for (const entity of found) {
    const last = groups.at(-1)?.at(-1);
    if (last && typeOf(last.label) === typeOf(entity.label) && !entity.label.startsWith('B-')) groups.at(-1)!.push(entity);
    else groups.push([entity]);
  }
  return groups;
}

const typeOf = (label: string): string => label.replace(/^[BI]-/, '');

/** The best tokens of a mask; of several masks, a list of these. */
async function filled({ sequences }: EncodedInput, results: Filled[][][], { tokenizer, mask }: Answering): Promise<Json> {
  const places = sequences.flatMap((sequence) =>
    [...sequence.ids.keys()].filter((i) => sequence.ids[i] === mask!.id).map((i) => ({ sequence, i })),
  );
  const alone = places.length === 1;
  const masks = await Promise.all(
    results.flat().map((fillings, m) =>
      Promise.all(
        fillings.map(async ({ id, score }) => {
          const { sequence, i } = places[m]!;
          const ids = sequence.ids.with(i, id);
          // Other masks are shown, and with them all special tokens, as in transformers.
          const text = alone ? await tokenizer.decode(ids) : await tokenizer.decodeWhole(ids);
          return { score, token: id, token_str: await tokenizer.decodeToken(id), sequence: text };
        }),
      ),
    ),
  );
  return alone ? masks[0]! : masks;
}

/** Converts positions in UTF-16 code units to positions in characters. */
function codePoints(text: string): (unit: number) => number {
  if (!/[\ud800-\udfff]/.test(text)) return (unit) => unit;
  const characters = new Uint32Array(text.length + 1);
  let count = 0;
  for (let unit = 0; unit <= text.length; unit++) {
    characters[unit] = count;
    const pair = (text.codePointAt(unit) ?? 0) > 0xffff;
    if (pair) characters[++unit] = count;
    count++;
  }
  return (unit) => characters[unit]!;
}
