/**
 * A raw row gets the same answer from evaluate, predict, generate and the server. Each case goes from raw rows through
 * collect, clean, tokenize, train, evaluate and deploy, with options that change text. Together, the cases cover all such
 * options.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporary } from '../steps/rig.ts';
import { smallModel } from '../steps/small.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';
import {
  ALL,
  answers,
  type Case,
  classified,
  close,
  cuttingLeft,
  LARGE,
  rowsOf,
  sameAnswers,
  sameSpans,
  sameWords,
  text,
  trained,
  WORDS,
} from './same-answer.ts';

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

test('words, read in windows that start on the right', () => sameWords('right'));

test('a cleaned question with its context in windows with a stride, truncated on the right', () => sameSpans('right'));

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
