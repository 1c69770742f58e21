/**
 * token-classification: a tag for each word of a text, such as B-PER, I-PER and O, which together mark entities. The
 * first token of a word has its tag, and the loss ignores its other tokens.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import type { Row } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
import { computed, mean, scoresAlone, total } from '../metrics/counts.ts';
import { ENTITIES, EntityCounts, whyOfEntities } from '../metrics/entities.ts';
import { PerExample } from '../metrics/per-example.ts';
import { classReport } from '../metrics/text-classification.ts';
import type { Sequence } from '../models/tokenizer.ts';
import { IGNORE_INDEX } from '../runtime/runtime.ts';
import { type LabelCount, labelSet } from './labels.ts';
import { markEntities, metricNames } from './metrics.ts';
import { openScorer } from './scorer.ts';
import {
  type BaselineRequest,
  type BaselineResult,
  best,
  encodeWindows,
  type InputAndAnswer,
  type Labelling,
  logSoftmax,
  longTextIsSplit,
  type Measurement,
  type Measuring,
  objectSchema,
  type PageSubject,
  type Preparation,
  type PreparationContext,
  placeSchema,
  rounded,
  shareSchema,
  type TaskKind,
  tokensOf,
} from './task.ts';

/** Logits of a sequence's tokens [T, labels]. */
export const tokenClassification: TaskKind<Float32Array> = {
  task: 'token-classification',
  fields: [{ name: 'text', words: true }],
  prepare,
  // Nothing is truncated: a long text is split into windows.
  tokenizing: () => ({}),

  encode: encodeWindows,

  read: ({ logits }, row, { ids }) => tokensOf(logits!, row, ids.length),

  answer({ text, words: given }, sequences, results, { labels }): Json {
    const list = given === undefined ? undefined : (JSON.parse(given) as string[]);
    const words = list ? wordsOfList(list, sequences, results, labels) : wordsOf(sequences, results, labels);
    const entities = groupsOf(words, labels).map((group) => entityOf(group, text!));
    if (!list) return { entities };
    const tags: (string | null)[] = list.map(() => null);
    for (const { place, scores } of words) tags[place!] = labels[best(scores)]!;
    return { entities, tags };
  },

  measure,
  baseline,

  async show({ ids, values, info: { labels }, tokenizer }) {
    const tags = values('labels');
    const tagged = ids.flatMap((id, i) =>
      tags[i]! >= 0 ? [tokenizer.decodeToken(id).then((token) => `${token}/${labels[tags[i]!]}`)] : [],
    );
    return { text: (await Promise.all(tagged)).join(' '), target: '' };
  },

  card: {
    hubTask: 'token-classification',
    purpose: ({ labels }) => `assigns one of the tags ${labels} to each word of a text`,
    longInput: longTextIsSplit,
    example,
  },
  page: { button: 'Find', title },
  answerSchema,
};

/* Rows: lists of words with a tag each. The words are joined by spaces, as in texts that are tagged later. */

interface Tagged extends Row {
  id: string;
  /** JSON lists. */
  words: string;
  tags: string;
}

async function prepare(source: PreparationContext): Promise<Preparation<Tagged>> {
  const { options } = source;
  const [words, tags] = [options.words ?? 'tokens', options.tags ?? 'tags'];
  const type = requireLists(source, words, tags);
  await refuseUneven(source, words, tags);
  const labels = await survey(source, tags, type);
  const ids = new Map(labels.map((label, i) => [label, i]));
  const counts = { words: 0, unread: 0 };
  return {
    labels,
    fields: { text: words },
    paired: false,
    columns: { labels: { per: 'token', dtype: 'int32', width: 1 } },
    select: { words: `to_json(${quote(words)}::VARCHAR[])::VARCHAR`, tags: `to_json(${quote(tags)}::VARCHAR[])::VARCHAR` },
    async encode(rows, read) {
      const lists = rows.map((row) => JSON.parse(row.words) as string[]);
      const windows = await read(lists.map((list) => ({ text: list.join(' ') })));
      return rows.map(({ id, tags }, i) => {
        const names = JSON.parse(tags) as string[];
        const words = wordsOfTokens(windows[i]!, lists[i]!);
        const begun = new Set(words);
        const labels = words.map((word) => (word === undefined ? IGNORE_INDEX : ids.get(names[word]!)!));
        const sequences = windows[i]!.map((sequence) => ({ sequence, values: { labels: labels.splice(0, sequence.ids.length) } }));
        const unread = names.flatMap((tag, word): [number, string][] => (begun.has(word) ? [] : [[word, tag]]));
        counts.words += names.length;
        counts.unread += unread.length;
        return { example: { id, words: lists[i]!, ...(unread.length > 0 && { unread }) }, sequences, truncated: false };
      });
    },
    finish() {
      if (counts.unread > 0)
        source.warn(
          `${counts.unread} of ${counts.words} words have no token: they are empty, or the tokenizer removes all of their characters. The model neither learns nor predicts them; evaluate counts them as O`,
        );
    },
  };
}

function requireLists({ columns }: PreparationContext, words: string, tags: string): string {
  for (const [name, option] of [[words, 'words'] as const, [tags, 'tags'] as const]) {
    const { type } = requireColumn(columns, name, option);
    if (!type.endsWith('[]'))
      throw new StepError(
        `the column \`${name}\` contains ${type}, not lists`,
        'token-classification needs a list of words and a list of tags: {"tokens": ["Ada", "wrote"], "tags": ["B-PER", "O"]}.',
        [option],
      );
  }
  return columns.find(({ name }) => name === tags)!.type;
}

async function refuseUneven({ database, table }: PreparationContext, words: string, tags: string): Promise<void> {
  const [w, t] = [quote(words), quote(tags)];
  const wrong = await database.rows<{ id: string; words: number | null; tags: number | null; holes: boolean }>(
    `SELECT id, len(${w}) AS words, len(${t}) AS tags, true AS holes FROM ${table}
     WHERE len(${w}) IS DISTINCT FROM len(${t}) OR list_contains(list_transform(${w}, lambda x: x IS NULL), true)
       OR list_contains(list_transform(${t}, lambda x: x IS NULL), true) ORDER BY id LIMIT 1`,
  );
  const [row] = wrong;
  if (!row) return;
  throw new StepError(
    row.words === row.tags
      ? `row ${row.id}: a word or a tag is null`
      : `row ${row.id} has ${row.words ?? 'no'} words in \`${words}\` and ${row.tags ?? 'no'} tags in \`${tags}\``,
    'Each word needs one tag. Correct the row, or leave it out in collect with `where`.',
    ['tags'],
  );
}

async function survey(source: PreparationContext, tags: string, type: string): Promise<string[]> {
  const { database, table, split } = source;
  const counts = await database.rows<LabelCount>(
    `SELECT label, count(*) AS rows, count(*) FILTER (WHERE split = 'train') AS trained
     FROM (SELECT ${split} AS split, unnest(${quote(tags)}::VARCHAR[]) AS label FROM ${table}) GROUP BY label ORDER BY label`,
  );
  return labelSet(counts, type, source, 'tags');
}

/** The word that each token begins, if any. A token may begin with the space before its word, so its end identifies the word. */
function wordsOfTokens(windows: readonly Sequence[], words: string[]): (number | undefined)[] {
  const spans = windows.flatMap((window) => window.spans);
  const sequenceIds = windows.flatMap((window) => window.sequenceIds);
  const begun: (number | undefined)[] = new Array(spans.length).fill(undefined);
  let word = 0;
  let end = words[0]?.length ?? 0;
  let last = -1;
  for (const [i, [begin, stop]] of spans.entries()) {
    if (sequenceIds[i] === null || begin === stop) continue;
    while (stop > end && word < words.length - 1) end += 1 + words[++word]!.length;
    if (word !== last) begun[i] = word;
    last = word;
  }
  return begun;
}

/* Answers: the words of a text with their tags, grouped into entities. */

/** A word of a text with the probabilities of its labels, which are those of its first token. */
interface Word {
  /** In the given list of words. */
  place?: number;
  begin: number;
  end: number;
  scores: Float64Array;
}

/** The words of a list, as in evaluate: words without tokens are left out. */
function wordsOfList(list: string[], sequences: Sequence[], results: Float32Array[], labels: string[]): Word[] {
  const words: Word[] = [];
  const begins: number[] = [];
  let end = 0;
  for (const word of list) {
    begins.push(end);
    end += word.length + 1;
  }
  const begun = wordsOfTokens(sequences, list);
  for (const [w, { ids }] of sequences.entries())
    for (const [i, place] of begun.splice(0, ids.length).entries()) {
      if (place === undefined) continue;
      const begin = begins[place]!;
      words.push({ place, begin, end: begin + list[place]!.length, scores: probabilities(results[w]!, i, labels.length) });
    }
  return words;
}

/** The words of all windows, as the tokenizer splits them. */
function wordsOf(sequences: Sequence[], results: Float32Array[], labels: string[]): Word[] {
  const words: Word[] = [];
  let last: number | null = null;
  for (const [w, { spans, wordIds }] of sequences.entries()) {
    for (const [i, word] of wordIds.entries()) {
      const [begin, end] = spans[i]!;
      if (word === null || begin === end) continue;
      // A word that a window cuts continues in the next one.
      if (word === last) words.at(-1)!.end = end;
      else words.push({ begin, end, scores: probabilities(results[w]!, i, labels.length) });
      last = word;
    }
  }
  return words;
}

function probabilities(logits: Float32Array, token: number, labels: number): Float64Array {
  return logSoftmax(logits.subarray(token * labels, (token + 1) * labels)).map(Math.exp);
}

interface Group {
  entity: string;
  words: Word[];
}

/**
 * Groups words into entities: B- begins one; I- continues one of the same type and otherwise begins one, so that the
 * result is valid IOB2. A label without such a prefix also continues an entity, as in transformers' pipeline, except
 * for tags such as NOUN, which each word has on its own.
 */
function groupsOf(words: Word[], labels: string[]): Group[] {
  const apart = !labels.some((label) => /^(O$|LABEL_\d+$|[BIES]-)/.test(label));
  const groups: Group[] = [];
  let open: Group | undefined;
  for (const word of words) {
    const label = labels[best(word.scores)]!;
    const [, prefix, entity] = /^(?:([BIES])-)?(.*)$/s.exec(label)!;
    if (label === 'O') open = undefined;
    else if (open && open.entity === entity && prefix !== 'B' && prefix !== 'S') open.words.push(word);
    else {
      open = { entity: entity!, words: [word] };
      groups.push(open);
    }
    if (prefix === 'E' || prefix === 'S' || apart) open = undefined;
  }
  return groups;
}

/** The score is the mean of the words' probabilities of their labels, as in transformers' pipeline. */
function entityOf({ entity, words }: Group, text: string): Json {
  const [start, end] = [words[0]!.begin, words.at(-1)!.end];
  const score = mean(words.map(({ scores }) => scores[best(scores)]!));
  return { entity, start, end, score: rounded(score), text: text.slice(start, end) };
}

/* Measures. */

function measure({ labels, metrics, split, labelIds }: Measuring): Measurement<Float32Array> {
  const nothing = labels.includes('O') ? 'O' : '';
  const entities = new EntityCounts();
  /** The loss, and the number of words that have one. */
  const sums = new PerExample(2);
  // Counts words, not entities. A word without a prediction is a false negative of its tag, and no false positive of another.
  const names = [...labels, ''];
  const places = new Map(names.map((name, k) => [name, k]));
  const matrix = names.map(() => names.map(() => 0));
  return {
    columns: { words: 'VARCHAR[]', label: 'VARCHAR[]', prediction: 'VARCHAR[]', score: 'DOUBLE', loss: 'DOUBLE', correct: 'BOOLEAN' },
    read: ({ logits }, row, length) => tokensOf(logits!, row, length),
    add({ words: texts, unread = [] }, first, results) {
      const truth: string[] = [];
      const predicted: (string | null)[] = [];
      let [loss, words, score] = [0, 0, Number.NaN];
      for (const [w, logits] of results.entries()) {
        const tags = new Int32Array(split.length(first + w));
        split.read('labels', first + w, tags, 0);
        for (const [i, tag] of tags.entries()) {
          if (tag === IGNORE_INDEX) continue;
          const logs = logSoftmax(logits.subarray(i * labels.length, (i + 1) * labels.length));
          const tagged = best(logs);
          loss -= logs[labelIds[tag]!]!;
          words++;
          score = words === 1 ? logs[tagged]! : Math.min(score, logs[tagged]!);
          truth.push(labels[labelIds[tag]!]!);
          predicted.push(labels[tagged]!);
        }
      }
      // Words without a token, in their order. They have no prediction, which counts as no entity.
      for (const [word, tag] of unread as [number, string][]) {
        truth.splice(word, 0, tag);
        predicted.splice(word, 0, null);
      }
      const taken = predicted.map((tag) => tag ?? nothing);
      entities.add(truth, taken);
      sums.add([loss, words]);
      for (const [i, tag] of truth.entries()) matrix[places.get(tag)!]![places.get(taken[i]!)!]!++;
      return {
        words: texts ?? null,
        label: truth,
        prediction: predicted,
        score: rounded(Math.exp(score)),
        loss: loss / words,
        correct: truth.every((tag, i) => tag === taken[i]),
      };
    },
    metrics(rows) {
      const [loss, words] = sums.sums(rows) as unknown as [number, number];
      return { loss: loss / words, ...computed(ENTITIES, metrics, entities.counted(rows)) };
    },
    why: (metric, rows) => whyOfEntities(metric, entities.counted(rows)),
    report() {
      const { '': _, ...classes } = classReport(names, matrix);
      const types = Object.entries(entities.counted().types).map(([type, counts]) => [type, scoresAlone(counts)]);
      return { labels, ...(markEntities(labels) && { entities: Object.fromEntries(types) }), classes };
    },
    warnings() {
      const said = names.filter((_, k) => matrix.some((row) => row[k]! > 0));
      const real = matrix.filter((row) => total(row) > 0);
      return said.length === 1 && real.length > 1 ? [`the model predicts the tag "${said[0]}" for every word`] : [];
    },
  };
}

/* Baselines: the most frequent tag overall, and the most frequent tag of each word: entities without any context. */

interface TaggedWords {
  id: string;
  words: string[];
  tags: string[];
  [column: string]: string | string[];
}

/** Fits on rows, and predicts the tag of each word. */
const METHODS: Record<string, (train: TaggedWords[]) => (word: string) => string> = {
  majority(train) {
    const commonest = commonestOf(train.flatMap(({ tags }) => tags));
    return () => commonest;
  },
  commonest_tag(train) {
    const unseen = commonestOf(train.flatMap(({ tags }) => tags));
    const tagsOf = new Map<string, string[]>();
    for (const { words, tags } of train) {
      for (const [i, word] of words.entries()) {
        if (!tagsOf.has(word)) tagsOf.set(word, []);
        tagsOf.get(word)!.push(tags[i]!);
      }
    }
    const commonest = new Map([...tagsOf].map(([word, tags]) => [word, commonestOf(tags)]));
    return (word) => commonest.get(word) ?? unseen;
  },
};

async function baseline({ options, methods, read }: BaselineRequest): Promise<BaselineResult> {
  const columns = { id: 'id', words: options.words ?? 'tokens', tags: options.tags ?? 'tags' };
  const asTexts = (column: string) => `coalesce(${quote(column)}::VARCHAR[], [])`;
  const rowsOf = async (split: string): Promise<TaggedWords[]> => {
    const rows = await read<TaggedWords>(split, columns, { words: asTexts, tags: asTexts });
    if (rows.some(({ words, tags }) => words.length !== tags.length))
      throw new StepError(`a row of the split ${split} has different numbers of words and tags`, 'tokenize reports which row.');
    return rows;
  };
  const train = await rowsOf('train');
  const test = await rowsOf(options.split);
  const labels = [...new Set(train.flatMap(({ tags }) => tags))].sort();
  const names = metricNames('token-classification', 'single_label_classification', labels, options.metrics);
  const results = methods.map((name) => {
    const tagOf = METHODS[name]!(train);
    const scorer = openScorer({ task: 'token-classification', problem: 'single_label_classification', labels, metrics: names });
    for (const { words, tags } of test) scorer.add(tags, { tags: words.map(tagOf) });
    return [name, { metrics: scorer.metrics }] as const;
  });
  return { rows: test.length, ids: test.map(({ id }) => id), about: { labels }, methods: Object.fromEntries(results) };
}

/** The first in order of equals. */
function commonestOf(tags: string[]): string {
  const counts = new Map<string, number>();
  for (const tag of tags.toSorted()) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)![0];
}

/* What a model card, the web page and the description of the API say. */

function example({ labels }: Labelling): InputAndAnswer {
  const entity = labels.find((label) => label !== 'O')?.replace(/^[BIES]-/, '');
  return { input: 'a text', answer: { entities: [{ entity, start: 2, end: 6, score: 0.97, text: 'text' }] } };
}

function title({ labels, names }: PageSubject): string {
  const types = labels.filter((label) => label !== 'O').map((label) => label.replace(/^[BIES]-/, ''));
  return `Finds ${names([...new Set(types)], 'and')} in a text`;
}

function answerSchema(): object {
  const text = { type: 'string' };
  const entity = objectSchema({ entity: text, start: placeSchema, end: placeSchema, score: shareSchema, text });
  return objectSchema({ entities: { type: 'array', items: entity } });
}
