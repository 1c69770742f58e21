/** Runs the examples of docs/data.md, docs/custom-steps.md and docs/writing-pipelines.md exactly as a newcomer would copy them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { type Files, project, root } from '../../rig.ts';
import { readRows } from '../../table.ts';

/** The first pipeline of each section by its heading, except those that need a model. */
const shown = new Map(
  [...readFileSync(join(root, 'docs/data.md'), 'utf8').matchAll(/^## (.+)\n(?:(?!^## )[\s\S])*?```yaml\n([\s\S]*?)```/gm)]
    .filter(([, , yaml]) => !yaml!.startsWith('steps:'))
    .map(([, title, yaml]) => [title!, inSteps(yaml!)]),
);

/** An SQLite database file. */
function shop(): Uint8Array {
  const database = new Database(':memory:');
  database.exec("CREATE TABLE reviews (body, label); INSERT INTO reviews VALUES ('Fine.', '5'), ('Dull.', '1')");
  return database.serialize();
}

/** `step`: the step whose table is compared (default: `collect`). */
const recipes: Record<string, { files: Files; step?: string; rows: object[] }> = {
  'Column types': {
    files: { 'data/sales.csv': 'title,zip,price\nBook,10001,1.50\nPen,501,1\nInk,20002,2\n' },
    rows: [
      { label: '10001', text: 'Book' },
      { label: '20002', text: 'Ink' },
    ],
  },
  'CSV dialects and encodings': {
    files: { 'data/export.txt': Buffer.from('\ufefftext\tlabel\r\nSchön.\tgut\r\n', 'utf16le') },
    rows: [{ label: 'gut', text: 'Schön.' }],
  },
  Databases: {
    files: { 'data/shop.db': shop() },
    rows: [
      { label: '1', text: 'Dull.' },
      { label: '5', text: 'Fine.' },
    ],
  },
  'Hugging Face label names': {
    files: {
      'data/README.md':
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': bad\n          '1': good\n---\n",
      'data/train.csv': 'text,label\nFine.,1\nDull.,0\n',
    },
    rows: [
      { label: 'bad', text: 'Dull.' },
      { label: 'good', text: 'Fine.' },
    ],
  },
  'Column names with spaces': {
    files: { 'data/reviews.csv': 'Review text;Stars (1-5)\n"Good; ""very"" good";5\nDull;2\n' },
    rows: [
      { label: 'bad', text: 'Dull' },
      { label: 'good', text: 'Good; "very" good' },
    ],
  },
  'One folder per label': {
    files: { 'texts/good/1.txt': 'Schön.\n', 'texts/bad/1.txt': '不好' },
    rows: [
      { label: 'bad', text: '不好' },
      { label: 'good', text: 'Schön.\n' },
    ],
  },
  'One long text': { files: { 'data/book.txt': 'One.\nTwo.\n' }, rows: [{ text: 'One.' }, { text: 'Two.' }] },
  'Prompts and completions': {
    files: { 'data/faq.csv': 'question,answer\n"Why, then?",So.\n' },
    rows: [{ completion: ' So.', prompt: 'Question: Why, then?\nAnswer:' }],
  },
  'SQuAD JSON': {
    files: {
      'data/train-v2.0.json': JSON.stringify({
        version: 'v2.0',
        data: [
          {
            title: 'Anna',
            paragraphs: [
              {
                context: 'Anna lives in Rome.',
                qas: [
                  { id: 'a', question: 'Where?', answers: [{ text: 'Rome', answer_start: 14 }], is_impossible: false },
                  { id: 'b', question: 'When?', answers: [], is_impossible: true },
                ],
              },
            ],
          },
          {
            title: 'Bert',
            paragraphs: [
              { context: 'Bert is old.', qas: [{ id: 'c', question: 'Who?', answers: [{ text: 'Bert', answer_start: 0 }] }] },
              { context: 'So he is.', qas: [{ id: 'd', question: 'Is he?', answers: [] }] },
            ],
          },
        ],
      }),
    },
    rows: [
      { id: 'a', question: 'Where?', answers: [{ text: 'Rome', answer_start: 14 }], context: 'Anna lives in Rome.' },
      { id: 'b', question: 'When?', answers: [], context: 'Anna lives in Rome.' },
      { id: 'c', question: 'Who?', answers: [{ text: 'Bert', answer_start: 0 }], context: 'Bert is old.' },
      { id: 'd', question: 'Is he?', answers: [], context: 'So he is.' },
    ],
  },
  CoNLL: {
    files: {
      'data/train.conll': '-DOCSTART- -X- -X- O\n\nAnna NNP B-NP B-PER\nlives VBZ B-VP O\n\r\nIn IN B-PP O\r\nRome NNP B-NP B-LOC\r\n\n\n',
    },
    rows: [
      { tags: ['B-PER', 'O'], tokens: ['Anna', 'lives'] },
      { tags: ['O', 'B-LOC'], tokens: ['In', 'Rome'] },
    ],
  },
  Splits: {
    files: { 'data/train-0.csv': 'text,label\nFine.,1\nSlow.,0\n', 'data/test-0.csv': 'text,label\nGrim.,0\n' },
    rows: [
      { split: 'train', text: 'Fine.' },
      { split: 'validation', text: 'Slow.' },
      { split: 'test', text: 'Grim.' },
    ],
  },
  HTML: {
    files: { 'data/posts.csv': 'text,label\n<p>List&lt;String&gt; names</p>,code\nplain words,prose\n' },
    step: 'clean',
    rows: [
      { label: 'code', text: 'List<String> names' },
      { label: 'prose', text: 'plain words' },
    ],
  },
};

test('every pipeline of the page is tested here', () => {
  expect([...shown.keys()]).toEqual(Object.keys(recipes));
});

test.each(Object.entries(recipes))('%s', async (title, { files, step = 'collect', rows }) => {
  const p = project({ ...files, 'p.yaml': shown.get(title)! });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
  const columns = Object.keys(rows[0]!);
  const made: object[] = [];
  for await (const chunk of readRows(p.path(`.tunesmith/outputs/p/${step}/data`), columns)) made.push(...chunk);
  expect(made).toHaveLength(rows.length);
  expect(made).toEqual(expect.arrayContaining(rows));
});

test('the step of docs/custom-steps.md and its pipeline run', async () => {
  const page = readFileSync(join(root, 'docs/custom-steps.md'), 'utf8');
  const [, step, yaml] = page.match(/```ts\n([\s\S]*?)```\n```yaml\n([\s\S]*?)```/)!;
  const p = project({
    'p.yaml': inSteps(yaml!),
    'dedupe.ts': step!,
    'data/rows.jsonl': '{"text":"a"}\n{"text":"b"}\n{"text":"a"}\n',
  });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
  expect(screen).toContain('dedupe: 2 of 3 rows kept\n');
  expect(screen).toContain('collect: 2 rows from 1 file (jsonl)\n');
});

test('the pipeline of docs/writing-pipelines.md', async () => {
  const yaml = readFileSync(join(root, 'docs/writing-pipelines.md'), 'utf8').match(/```yaml\n([\s\S]*?)```/)![1]!;
  const p = project({ 'words.yaml': yaml, 'data/a.txt': 'b\na\n', 'data/b.txt': 'a\ncc\n' });
  const { cells } = await p.states('words.yaml');
  expect(cells).toEqual(
    Object.fromEntries(['sorted', 'top[lines=1]', 'top[lines=2]', 'size[lines=1]', 'size[lines=2]', 'all'].map((cell) => [cell, 'ran'])),
  );
  expect(p.read('out/top-2.txt')).toBe('a\nb\n');
  expect(p.read('out/all.txt')).toMatch(/^ *2 .*\n *4 .*\n$/);
});

function inSteps(yaml: string): string {
  return `steps:\n${yaml.replace(/^(?=.)/gm, '  ')}`;
}
