/**
 * A raw row gets the same answer from evaluate, predict, generate and the server. Each case goes from raw rows through
 * collect, clean, tokenize, train, evaluate and deploy, with options that change text. Together, the cases cover all such
 * options.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
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
import { smallGpt2, smallT5 } from '../steps/writers.ts';
import { allRows } from '../table.ts';

type Row = Record<string, unknown> & { id: string; split: string };

interface Case {
  rows: Row[];
  model: string;
  collect?: object;
  /** A linear pipeline. */
  clean?: object[];
  tokenize: Record<string, any>;
  /** The columns of a raw row by input field. */
  fields: Record<string, string>;
}

const SPLITS = ['train', 'train', 'test', 'test', 'validation'];

const WORDS = ['awful', 'lovely', 'poor', 'fine', 'moon', 'spoon', 'the', 'day', 'was', 'sad', 'great', 'seven'];

/** Texts with everything that cleaning and truncation change: punctuation, case, links, numbers, accents; long and empty ones. */
function text(i: number, long = 1): string {
  if (i % 11 === 7) return '';
  const words = Array.from({ length: 3 + long * (i % 6) }, (_, k) => WORDS[(i * 5 + k * 7) % WORDS.length]!);
  const odd = ['<b>Lovely</b>', 'http://x.org/moon', 'a@b.org', '12', '— GREAT!', 'cafe\u0301', '&amp;', 'FINE  day'][i % 8]!;
  return [...words.slice(0, 2), odd, ...words.slice(2)].join(i % 3 ? ' ' : '  ');
}

const rowsOf = (count: number, make: (i: number) => object): Row[] =>
  Array.from({ length: count }, (_, i) => ({ ...make(i), id: `r${String(i).padStart(3, '0')}`, split: SPLITS[i % 5]! }));

/** All cleaning options. */
const ALL = {
  remove: ['html', 'urls', 'emails', 'special_characters', 'numbers'],
  keep_characters: '!',
  lowercase: true,
  normalize: 'NFKC',
};

interface Trained {
  bundle: string;
  /** evaluate's line of each row, by id. */
  predicted: Map<string, any>;
  rows: Row[];
}

async function trained({ rows, model, collect: collecting = {}, clean: cleaning = [], tokenize: options }: Case): Promise<Trained> {
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
const built = (name: string) => import(pathToFileURL(join(root, 'dist/steps/serving', name)).href);

async function printed(write: (output: Writable) => Promise<void>): Promise<any[]> {
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
async function answers(bundle: string, inputs: Record<string, string>[], route: 'predict' | 'generate'): Promise<Record<string, any[]>> {
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
function close(found: any, expected: any): void {
  if (typeof expected === 'number') expect(Math.abs(found - expected)).toBeLessThan(1e-6);
  else if (expected !== null && typeof expected === 'object') {
    expect(Object.keys(found)).toEqual(Object.keys(expected));
    for (const key of Object.keys(expected)) close(found[key], expected[key]);
  } else expect(found).toEqual(expected);
}

/** With the names of fields and of columns, because a file may use either. */
const inputOf = (row: Row, fields: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).flatMap(([field, column]) => [[field, row[column] as string]]));

/** `of`: the expected answer of predict, from evaluate's line; `said`: the part of an answer that this line has. */
async function sameAnswers(
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

const classified = ({ prediction, scores }: any) => ({ label: prediction, scores });

/** A folder with a tokenizer that truncates on the left. */
function cuttingLeft(folder: string): string {
  const file = join(folder, 'tokenizer_config.json');
  writeFileSync(file, JSON.stringify({ truncation_side: 'left' }));
  return folder;
}

const LARGE = { initializer_range: 0.8 };

test('a text: mails decoded, cleaned twice, a column with another name, truncated', async () => {
  const mail = (body: string) => `From: a@b.org\nTo: c@d.org\nSubject: x\nContent-Type: text/html\n\n<p>${body}</p>`;
  const { bundle } = await sameAnswers(
    {
      rows: rowsOf(40, (i) => ({ raw: mail(`${text(i, 3)} ok`), label: i % 2 ? 'good' : 'bad' })),
      model: smallModel(LARGE),
      collect: { decode: { raw: 'mail' }, select: { id: 'id', split: 'split', body: 'raw', label: 'label' } },
      clean: [
        { columns: ['body'], ...ALL, lowercase: false },
        { columns: ['body'], lowercase: true, whitespace: 'keep' },
      ],
      tokenize: { text: 'body', max_length: 10 },
      fields: { text: 'raw' },
    },
    classified,
  );
  const card = readFileSync(join(bundle, 'README.md'), 'utf8');
  for (const said of [
    'mails are converted to their texts',
    'removed: URLs',
    'column `body`',
    'more than 10 tokens is truncated at its end',
  ])
    expect(card).toContain(said);
});

test.each([
  ['longest_first', 'right'],
  ['only_first', 'left'],
  ['only_second', 'right'],
])('a pair with one cleaned text: truncation %s, on the %s', async (truncation, side) => {
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
});

test('multiple labels, and regression; texts truncated on the left', async () => {
  const rows = rowsOf(30, (i) => ({ text: text(i, 2), sad: i % 2, odd: i % 3 === 0 ? 1 : 0, score: (i % 7) / 2 }));
  const model = cuttingLeft(smallModel(LARGE));
  const options = { max_length: 9, problem_type: 'multi_label_classification', label: ['sad', 'odd'] };
  await sameAnswers({ rows, model, tokenize: options, fields: { text: 'text' } }, ({ prediction, scores }) => ({
    labels: prediction,
    scores,
  }));
  const number = { max_length: 9, problem_type: 'regression', label: 'score' };
  await sameAnswers({ rows, model, tokenize: number, fields: { text: 'text' } }, ({ prediction }) => ({ score: prediction }));
});

test('GPT-2 classifies an empty text independently of its batch', async () => {
  const model = temporary();
  smallGpt2(model, { pad_token_id: 0, ...LARGE });
  const { predicted, rows } = await sameAnswers(
    {
      rows: rowsOf(30, (i) => ({ text: text(i), label: i % 2 ? 'good' : 'bad' })),
      model,
      tokenize: { max_length: 20 },
      fields: { text: 'text' },
    },
    classified,
  );
  const empty = rows.filter((row) => row.text === '').map(({ id }) => predicted.get(id).scores.good as number);
  expect(empty.length).toBeGreaterThan(0);
  for (const score of empty) expect(Math.abs(score - empty[0]!)).toBeLessThan(1e-6);
});

const TINY = { vocab_size: 360, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, ...LARGE };

test.each([
  ['roberta', 'roberta', { ...TINY, type_vocab_size: 1, pad_token_id: 1, max_position_embeddings: 40 }],
  [
    'distilbert',
    'bert-cased',
    { ...LARGE, vocab_size: 330, dim: 16, n_layers: 1, n_heads: 2, hidden_dim: 32, max_position_embeddings: 40 },
  ],
  ['albert', 'unigram', { ...TINY, embedding_size: 8, max_position_embeddings: 40 }],
])('%s classifies pairs that were cleaned and are truncated, with its own tokenizer', async (model_type, tokenizer, config) => {
  const model = temporary();
  cpSync(join(root, 'test/golden/tokenizer', tokenizer), model, { recursive: true });
  writeFileSync(join(model, 'config.json'), JSON.stringify({ model_type, ...config }));
  await sameAnswers(
    {
      rows: rowsOf(25, (i) => ({ first: text(i, 3), second: text(i + 5, 2), label: i % 2 ? 'good' : 'bad' })),
      model,
      clean: [{ columns: ['first'], ...ALL }],
      tokenize: { text: 'first', text_pair: 'second', max_length: 20 },
      fields: { text: 'first', text_pair: 'second' },
    },
    classified,
  );
});

test.each(['right', 'left'])('words, read in windows that start on the %s', async (side) => {
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
});

test('words that the tokenizer splits or drops: a list of words gets the tags that evaluate gives it', async () => {
  const ODD = ['U.S.', 'moon', 'day-spoon', '\u200b', 'LOVELY', "it's", 'was'];
  const rows = rowsOf(30, (i) => {
    const tokens = Array.from({ length: 2 + (i % 9) }, (_, k) => ODD[(i + k * 3) % ODD.length]!);
    return { tokens, tags: tokens.map((_, k) => ['O', 'B-A', 'I-A'][(i + k) % 3]) };
  });
  await sameAnswers(
    { rows, model: smallModel(LARGE), tokenize: { task: 'token-classification', max_length: 8 }, fields: { text: 'tokens' } },
    ({ prediction }) => prediction,
    { said: ({ tags }) => tags },
  );
});

/** Entities as seqeval reads tags, with predict's scores. */
function entitiesOf(tags: string[], words: string[]): object[] {
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

test.each(['right', 'left'])('a cleaned question with its context in windows with a stride, truncated on the %s', async (side) => {
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
});

test('a masked word stays intact when its text is cleaned; predict and the server fill it in alike', async () => {
  const rows = rowsOf(30, (i) => ({ text: `${text(i, 4)} moon`, label: 'x' }));
  const model = smallModel(LARGE);
  const { bundle } = await trained({
    rows,
    model,
    clean: [{ ...ALL, keep_characters: '' }],
    tokenize: { task: 'masked-lm', max_length: 12 },
    fields: {},
  });
  const raw = { text: 'THE <b>[MASK]</b> was (http://x.org) 12 [MASK] day' };
  const ways = await answers(bundle, [raw, { text: 'the [MASK] was [MASK] day' }], 'predict');
  for (const found of Object.values(ways)) {
    expect(found[0].fill).toHaveLength(2);
    close(found[0], found[1]);
  }
  close(ways.together![0], ways.fromFile![0]);
});

test('seq2seq: prefix, cleaning, texts truncated as in training, texts up to the maximum target length', async () => {
  const model = temporary();
  smallT5(model, WORDS, LARGE);
  const { bundle } = await sameAnswers(
    {
      rows: rowsOf(40, (i) => ({ body: text(i, 3), target: `${WORDS[i % 12]} ${WORDS[(i * 5) % 12]}` })),
      model: cuttingLeft(model),
      clean: [{ columns: ['body'], ...ALL }],
      tokenize: { task: 'seq2seq', text: 'body', prefix: 'sum: ', max_length: 14, max_target_length: 6 },
      fields: { prompt: 'body' },
    },
    ({ prediction }) => prediction,
    { route: 'generate', said: ({ text }) => text },
  );
  expect(readFileSync(join(bundle, 'README.md'), 'utf8')).toContain('generated texts have at most 6 tokens by default');
});

test('causal-lm: a prompt is cleaned like its column, in a file and over HTTP', async () => {
  const model = temporary();
  smallGpt2(model, LARGE);
  const rows = rowsOf(30, (i) => ({ asked: `${text(i)} moon`, reply: WORDS[i % 12]! }));
  const options = { task: 'causal-lm', prompt: 'asked', completion: 'reply', max_length: 48 };
  const one: Case = {
    rows: rows.filter(({ asked }) => (asked as string).length < 40),
    model,
    clean: [{ columns: ['asked'], ...ALL }],
    tokenize: options,
    fields: {},
  };
  const { bundle } = await trained(one);
  const ways = await answers(bundle, [{ prompt: '<b>LOVELY</b>  day 12' }, { prompt: 'lovely day' }], 'generate');
  for (const found of Object.values(ways)) expect(found[0].tokens).toEqual(found[1].tokens);
  expect(ways.together!.map(({ text }) => text)).toEqual(ways.fromFile!.map(({ text }) => text));
});
