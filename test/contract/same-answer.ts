/** A raw row through collect, clean, tokenize, train, evaluate and deploy, and the answers of predict, generate and the server to it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import clean from '../../steps/clean/step.ts';
import collect from '../../steps/collect/step.ts';
import deploy from '../../steps/deploy/step.ts';
import evaluate from '../../steps/evaluate/step.ts';
import { generateAll } from '../../steps/serving/generate.ts';
import tokenize from '../../steps/tokenize/step.ts';
import train from '../../steps/train/step.ts';
import { root } from '../rig.ts';
import { ranStep, temporary } from '../steps/rig.ts';
import { smallModel } from '../steps/small.ts';
import { allRows } from '../table.ts';

export type Row = Record<string, unknown> & { id: string; split: string };

export interface Case {
  rows: Row[];
  model: string;
  collect?: object;
  /** A linear pipeline. */
  clean?: object[];
  tokenize: Record<string, any>;
  /** The columns of a raw row by input field. */
  fields: Record<string, string>;
}

export const SPLITS = ['train', 'train', 'test', 'test', 'validation'];

export const WORDS = ['awful', 'lovely', 'poor', 'fine', 'moon', 'spoon', 'the', 'day', 'was', 'sad', 'great', 'seven'];

/** Texts with everything that cleaning and truncation change: punctuation, case, links, numbers, accents; long and empty ones. */
export function text(i: number, long = 1): string {
  if (i % 11 === 7) return '';
  const words = Array.from({ length: 3 + long * (i % 6) }, (_, k) => WORDS[(i * 5 + k * 7) % WORDS.length]!);
  const odd = ['<b>Lovely</b>', 'http://x.org/moon', 'a@b.org', '12', '— GREAT!', 'cafe\u0301', '&amp;', 'FINE  day'][i % 8]!;
  return [...words.slice(0, 2), odd, ...words.slice(2)].join(i % 3 ? ' ' : '  ');
}

export const rowsOf = (count: number, make: (i: number) => object): Row[] =>
  Array.from({ length: count }, (_, i) => ({ ...make(i), id: `r${String(i).padStart(3, '0')}`, split: SPLITS[i % 5]! }));

/** All cleaning options. */
export const ALL = {
  remove: ['html', 'urls', 'emails', 'special_characters', 'numbers'],
  keep_characters: '!',
  lowercase: true,
  normalize: 'NFKC',
};

export interface Trained {
  bundle: string;
  /** evaluate's line of each row, by id. */
  predicted: Map<string, any>;
  rows: Row[];
}

export async function trained({ rows, model, collect: collecting = {}, clean: cleaning = [], tokenize: options }: Case): Promise<Trained> {
  const file = join(temporary(), 'rows.jsonl');
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  let data = (await ranStep(collect, { required: [], ...collecting }, { files: [file] })).outputs.data!;
  for (const step of cleaning) data = (await ranStep(clean, step, { data })).outputs.data!;
  const tokens = (await ranStep(tokenize, options, { data, model })).outputs.tokens!;
  const training = { epochs: 1, batch_size: 8, learning_rate: 0.01, seed: 1, eval_strategy: 'no' };
  const made = (await ranStep(train, training, { tokens, model })).outputs.model!;
  const { outputs } = await ranStep(evaluate, { batch_size: 4 }, { model: made, tokens });
  const predicted = new Map((await allRows(outputs.predictions!)).map((row) => [row.id as string, row]));
  const { bundle } = (await ranStep(deploy, {}, { model: made })).outputs as { bundle: string };
  return { bundle, predicted, rows: rows.filter(({ id }) => predicted.has(id)) };
}

/** The packaged version, in which threads start fast. */
export const built = (name: string) => import(pathToFileURL(join(root, 'dist/steps/serving', name)).href);

export async function printed(write: (output: Writable) => Promise<void>): Promise<any[]> {
  let all = '';
  const output = new Writable({
    write(chunk, _, done) {
      all += chunk;
      done();
    },
  });
  await write(output);
  return all
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** Sends the raw inputs in a file and over HTTP, one by one and together. */
export async function answers(
  bundle: string,
  inputs: Record<string, string>[],
  route: 'predict' | 'generate',
): Promise<Record<string, any[]>> {
  const file = join(temporary(), 'inputs.jsonl');
  writeFileSync(file, inputs.map((input) => `${JSON.stringify(input)}\n`).join(''));
  const offline =
    route === 'predict'
      ? printed(async (output) => (await built('predict.js')).predict(bundle, file, {}, output))
      : printed((output) => generateAll(bundle, file, {}, { batchSize: 3 }, output));
  const fromFile = await offline;
  const server = await (await built('serve.js')).startServer(bundle, { port: 0 });
  try {
    const post = async (body: object) => {
      const headers = { 'content-type': 'application/json' };
      const response = await fetch(`${server.url}/${route}`, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(response.status, await response.clone().text()).toBe(200);
      const found = (await response.json()) as any;
      return route === 'predict' ? found.predictions : found.texts;
    };
    const bodyOf = (list: Record<string, string>[]) =>
      route === 'predict' ? { inputs: list } : { prompt: list.map(({ prompt }) => prompt) };
    const together = await post(bodyOf(inputs));
    const single = [];
    for (const input of inputs.slice(0, 3)) single.push(...(await post(bodyOf([input]))));
    return { fromFile, together, single };
  } finally {
    await server.close();
  }
}

/** Compares numbers to 1e-6 and everything else exactly. */
export function close(found: any, expected: any): void {
  if (typeof expected === 'number') expect(Math.abs(found - expected)).toBeLessThan(1e-6);
  else if (expected !== null && typeof expected === 'object') {
    expect(Object.keys(found)).toEqual(Object.keys(expected));
    for (const key of Object.keys(expected)) close(found[key], expected[key]);
  } else expect(found).toEqual(expected);
}

/** With the names of fields and of columns, because a file may use either. */
export const inputOf = (row: Row, fields: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).flatMap(([field, column]) => [[field, row[column] as string]]));

/** `of`: the expected answer of predict, from evaluate's line; `said`: the part of an answer that this line has. */
export async function sameAnswers(
  one: Case,
  of: (line: any, row: Row) => unknown,
  { route = 'predict', said = (answer) => answer }: { route?: 'predict' | 'generate'; said?: (answer: any) => unknown } = {},
): Promise<Trained> {
  const all = await trained(one);
  expect(all.rows.length).toBeGreaterThan(5);
  const inputs = all.rows.map((row) => inputOf(row, one.fields));
  for (const [way, found] of Object.entries(await answers(all.bundle, inputs, route)))
    for (const [i, answer] of found.entries()) {
      const row = all.rows[i]!;
      try {
        close(said(answer), of(all.predicted.get(row.id), row));
      } catch (error) {
        throw new Error(
          `${way}, ${JSON.stringify(row)}: ${JSON.stringify(answer)}, not ${JSON.stringify(all.predicted.get(row.id))}: ${error}`,
        );
      }
    }
  return all;
}

export const classified = ({ prediction, scores }: any) => ({ label: prediction, scores });

/** A folder with a tokenizer that truncates on the left. */
export function cuttingLeft(folder: string): string {
  const file = join(folder, 'tokenizer_config.json');
  writeFileSync(file, JSON.stringify({ truncation_side: 'left' }));
  return folder;
}

export const LARGE = { initializer_range: 0.8 };

export async function samePairs(truncation: string, side: string): Promise<void> {
  const model = smallModel(LARGE);
  await sameAnswers(
    {
      rows: rowsOf(30, (i) => ({
        first: text(i, truncation === 'only_second' ? 0 : 3),
        second: text(i + 5, truncation === 'only_first' ? 0 : 3),
        label: i % 2,
      })),
      model: side === 'left' ? cuttingLeft(model) : model,
      clean: [{ columns: [truncation === 'only_first' ? 'first' : 'second'], ...ALL }],
      tokenize: { text: 'first', text_pair: 'second', max_length: 24, truncation },
      fields: { text: 'first', text_pair: 'second' },
    },
    classified,
  );
}

export async function sameWords(side: string): Promise<void> {
  const model = smallModel(LARGE);
  const words = (i: number) => Array.from({ length: 1 + ((i * 3) % 17) }, (_, k) => WORDS[(i + k * 5) % WORDS.length]!);
  await sameAnswers(
    {
      rows: rowsOf(30, (i) => {
        const tokens = words(i);
        return { tokens, text: tokens.join(' '), tags: tokens.map((_, k) => ['O', 'B-A', 'I-A'][(i + k) % 3]) };
      }),
      model: side === 'left' ? cuttingLeft(model) : model,
      tokenize: { task: 'token-classification', max_length: 8 },
      fields: { text: 'text' },
    },
    // The prediction for each word, in the form of predict's answer.
    ({ prediction }, { tokens }) => entitiesOf(prediction, tokens as string[]),
    { said: ({ entities }) => entities.map(({ score: _, ...entity }: any) => entity) },
  );
}

/** Entities as seqeval reads tags, with predict's scores. */
export function entitiesOf(tags: string[], words: string[]): object[] {
  const found: { entity: string; start: number; end: number; text?: string }[] = [];
  let at = 0;
  let open = false;
  for (const [i, tag] of tags.entries()) {
    const end = at + words[i]!.length;
    if (tag === 'O') open = false;
    else if (tag.startsWith('B-') || !open) {
      found.push({ entity: tag.slice(2), start: at, end });
      open = true;
    } else found.at(-1)!.end = end;
    at = end + 1;
  }
  return found.map(({ entity, start, end }) => ({ entity, start, end, text: words.join(' ').slice(start, end) }));
}

export async function sameSpans(side: string): Promise<void> {
  const model = smallModel(LARGE);
  await sameAnswers(
    {
      rows: rowsOf(30, (i) => {
        const context = `${text(i, 5)} moon ${text(i + 3, 4)}`.trim();
        return { asked: `WHERE <i>was</i> the ${WORDS[i % 12]}`, context, answers: ['moon'] };
      }),
      model: side === 'left' ? cuttingLeft(model) : model,
      clean: [{ columns: ['asked'], ...ALL }],
      tokenize: { task: 'question-answering', question: 'asked', max_length: 16, stride: 3 },
      fields: { question: 'asked', context: 'context' },
    },
    ({ prediction, start, score }) => ({ answer: prediction, start, end: start + prediction.length, score }),
  );
}
