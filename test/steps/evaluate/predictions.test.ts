/** The predictions of evaluate: a table with the columns of the data, which other steps and `show` read. */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import baseline from '../../../steps/baseline/step.ts';
import clean from '../../../steps/clean/step.ts';
import collect from '../../../steps/collect/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { readPreprocessing } from '../../../steps/ml/data/preprocessing.ts';
import { tableOf, writeTable } from '../../../steps/ml/data/table.ts';
import { preview } from '../../../steps/preview/preview.ts';
import split from '../../../steps/split/step.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { allRows, describeTable } from '../../table.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { rows, smallModel } from '../small.ts';
import { smallT5 } from '../writers.ts';
import { from, kept, predicted, startOf, TEXT, tableFrom, WORDS } from './predicted.ts';

/** A model for two labels, made once. */
async function classifier() {
  if (!existsSync(join(kept, 'model'))) {
    const made = await startOf(await table(rows({ train: 30, test: 12 })));
    for (const name of ['data', 'tokens', 'model'] as const) cpSync(made[name], join(kept, name), { recursive: true });
  }
  return { data: join(kept, 'data'), tokens: join(kept, 'tokens'), model: join(kept, 'model') };
}

afterAll(() => rmSync(kept, { recursive: true }));

describe('with the input `data`', () => {
  test('every column comes through unchanged, whatever its type', async () => {
    const data = await tableFrom(
      from(`${TEXT} AS text, ['bad', 'good'][1 + (i % 2)::INT] AS label, i::TINYINT AS tiny, i * 1e15::BIGINT AS big,
        (i * 170141183460469231731687303715)::HUGEINT AS huge, (i / 7)::DECIMAL(30, 20) AS exact, i / 7 AS real, 'nan'::DOUBLE AS odd,
        i % 2 = 0 AS flag, NULL::VARCHAR AS nothing, CASE WHEN i % 2 = 0 THEN NULL ELSE chr(10) || '"\u{feff}' || chr(0) END AS raw,
        DATE '2024-02-29' + i::INT AS day, TIMESTAMP '2024-02-29 12:00:00.123456' + to_seconds(i) AS at,
        TIMESTAMPTZ '2024-02-29 12:00:00+02' AS zoned, TIME '12:00:00.5' AS clock, [i, NULL, 2] AS numbers, []::VARCHAR[] AS empty,
        {'a': i, 'b': ['x', NULL]} AS pair, [{'deep': {'er': i}}] AS nested, MAP {'k': i} AS lookup, 'ab'::BLOB AS bytes,
        '8f14e45f-ceea-467f-a8a9-95c2f0e1d1d1'::UUID AS uuid, 'a'::ENUM('a', 'b') AS choice`),
    );
    const { model, tokens } = await classifier();
    const own = (await ranStep(tokenize, {}, { data, model })).outputs.tokens!;
    const { folder, rows } = await predicted({ model, tokens: own, data });
    expect(tokens).not.toBe(own);
    const database = await Database.open();
    const [before, after] = [tableOf(data), tableOf(folder)];
    const written = ['label', 'prediction', 'score', 'scores', 'loss', 'correct'];
    const given = (await database.columns(before)).filter(({ name }) => !['id', 'split', ...written].includes(name));
    expect((await database.columns(after)).map(({ name }) => name)).toEqual(['id', 'split', ...given.map(({ name }) => name), ...written]);
    const types = new Map((await database.columns(after)).map(({ name, type }) => [name, type]));
    for (const { name, type } of given) expect([name, types.get(name)]).toEqual([name, type]);
    const { different } = await database.row<{ different: number }>(
      `SELECT count(*) AS different FROM ${before} a JOIN ${after} b USING (id)
       WHERE ${given.map(({ name }) => `a."${name}" IS DISTINCT FROM b."${name}"`).join(' OR ')} OR a.split <> b.split`,
    );
    database.close();
    expect([rows.length, different]).toEqual([8, 0]);
    expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 8 }, (_, i) => `r${String(3 * i).padStart(3, '0')}`));
  });

  test('data in another order are joined by id, too', async () => {
    const { model, tokens, data } = await classifier();
    const folder = temporary();
    const database = await Database.open();
    await database.run(`CREATE TABLE made AS SELECT * EXCLUDE (text), id || '!' AS text FROM ${tableOf(data)} ORDER BY md5(id)`);
    await writeTable(database, 'made', folder, { sorted: true });
    database.close();
    const { rows } = await predicted({ model, tokens, data: folder });
    expect(rows.map(({ id }) => id)).toEqual(rows.map(({ id }) => id).toSorted());
    for (const { id, text } of rows) expect(text).toBe(`${id}!`);
  });

  test('a missing row, a row that occurs twice and a column with a name that evaluate writes are errors', async () => {
    const { model, tokens, data } = await classifier();
    const of = (sql: string) => tableFrom(sql.replaceAll('DATA', tableOf(data)));
    const errorOf = async (sql: string) => predicted({ model, tokens, data: await of(sql) }).catch((error: Error) => error);
    expect(await errorOf("FROM DATA WHERE id <> 'test-0003' AND id <> 'test-0007'")).toMatchObject({
      message: 'the data have no row test-0003, which the tokens have (2 rows are missing)',
      option: ['data'],
    });
    expect(await errorOf("FROM DATA UNION ALL SELECT * FROM DATA WHERE id = 'test-0004'")).toMatchObject({
      message: 'the data have the row test-0004 several times',
    });
    expect(await errorOf('SELECT *, 1 AS score FROM DATA')).toMatchObject({
      message: 'the data have a column `score`, and evaluate writes a column of that name',
      hint: 'Rename it in collect: `select: { my_score: score }`.',
    });
    expect(await errorOf('SELECT *, 1 AS "Loss" FROM DATA')).toMatchObject({ message: expect.stringContaining('a column `Loss`, and') });
    expect(await errorOf("SELECT * REPLACE (label || '!' AS label) FROM DATA")).toMatchObject({
      message: 'the data have a column `label`, and evaluate writes a column of that name',
    });
    // Rows that are not evaluated do not matter.
    expect(await errorOf("SELECT * FROM DATA WHERE split = 'test'")).toMatchObject({ rows: expect.any(Array) });
    await expect(predicted({ model, tokens, data: temporary() })).rejects.toThrow('contains no data.parquet');
  });
});

describe('every task', () => {
  test('token-classification: words to the letter, and the least probable tag', async () => {
    const tokens = "['Ada', 'lovely\u{feff}', '\u{200b}', 'day' || i]";
    const data = await tableFrom(from(`${tokens} AS tokens, [['B-X', 'O', 'O', 'O'], ['O', 'B-X', 'O', 'O']][1 + (i % 2)::INT] AS tags`));
    const { rows } = await predicted(await startOf(data, { task: 'token-classification' }));
    for (const { words, tokens, tags, label, prediction, score, loss, correct } of rows) {
      expect([words, label]).toEqual([tokens, tags]);
      expect(prediction.map((tag: string | null) => tag === null)).toEqual([false, false, true, false]);
      expect(correct).toBe(prediction.every((tag: string | null, k: number) => (tag ?? 'O') === label[k]));
      for (const value of [score, loss]) expect(value).toBeGreaterThan(0);
    }
  });

  test('question-answering, with windows', async () => {
    const context = "'the awful day was sad and the lovely moon was great and fine'";
    const answers = "CASE WHEN i % 2 = 0 THEN ['moon', 'lovely moon'] ELSE [] END AS answers";
    const data = await tableFrom(from(`'was the moon' AS question, ${context} AS context, ${answers}`));
    const { rows, report } = await predicted(await startOf(data, { task: 'question-answering', max_length: 14, stride: 2 }));
    expect(rows[0]!.label).toEqual(['moon', 'lovely moon']);
    for (const { context, prediction, start, exact_match, correct } of rows) {
      expect(context.slice(start, start + prediction.length)).toBe(prediction);
      expect(correct).toBe(exact_match === 1);
    }
    for (const name of ['exact_match', 'f1'])
      expect(rows.reduce((sum, row) => sum + row[name], 0) / rows.length).toBeCloseTo(report.metrics[name], 12);
  });

  test('seq2seq: generated texts only if a metric needs them', async () => {
    const t5 = temporary();
    smallT5(t5, ['awful', 'lovely', 'day', 'poor', 'fine', 'sad', 'great']);
    const data = await tableFrom(from(`${TEXT} AS text, ${WORDS}[1 + (i % 6)::INT] AS target`));
    const start = await startOf(data, { task: 'seq2seq' }, t5);
    const own = await predicted(start, { metrics: ['perplexity'] });
    expect(Object.keys(own.rows[0]!)).toEqual(['id', 'split', 'text', 'target', 'label', 'tokens', 'loss', 'accuracy']);
    const { rows, report } = await predicted(start, {
      metrics: ['rouge1', 'bleu', 'exact_match', 'chrf'],
      generation: { max_new_tokens: 4 },
    });
    const written = ['prediction', 'writable', 'correct', 'rouge1', 'chrf'];
    expect(Object.keys(rows[0]!)).toEqual([...Object.keys(own.rows[0]!), ...written]);
    expect(rows.reduce((sum, row) => sum + row.rouge1, 0) / rows.length).toBeCloseTo(report.metrics.rouge1, 12);
    expect(rows.filter(({ correct }) => correct).length / rows.length).toBe(report.metrics.exact_match);
    for (const { label, target } of rows) expect(label).toBe(target);
  });
});

test('other steps take predictions as data, with the record of their preprocessing', async () => {
  const raw = await table(rows({ train: 30, test: 12 }));
  const { data } = (await ranStep(clean, { lowercase: true, deduplicate: false }, { data: raw })).outputs as { data: string };
  const { model } = await classifier();
  const tokens = (await ranStep(tokenize, {}, { data, model })).outputs.tokens!;
  const { folder } = await predicted({ model, tokens, data }, { split: 'train' });
  expect(await readPreprocessing(folder)).toEqual(await readPreprocessing(data));

  const mistakes = await ranStep(
    collect,
    {
      required: [],
      where: "loss > 0.1 and map_keys(scores)[1] = 'bad'",
      select: { text: 'text', label: 'label', sure: "scores['good']", prediction: 'prediction', scores: 'scores' },
    },
    { files: [folder] },
  );
  const { rows: count, columns } = await describeTable(mistakes.outputs.data!);
  expect(count).toBe(30);
  expect(columns.map(({ name }) => name)).toEqual(['id', 'label', 'prediction', 'scores', 'sure', 'text']);

  expect((await ranStep(clean, { deduplicate: false }, { data: folder })).log[1]).toMatch(/^30 rows kept/);
  const cleaned = (await ranStep(clean, { deduplicate: false }, { data: mistakes.outputs.data! })).outputs.data!;
  const divided = (await ranStep(split, { ratios: [0.5, 0.5], names: ['train', 'test'] }, { data: cleaned })).outputs.data!;
  expect((await allRows(divided)).map(({ prediction }) => prediction)).toHaveLength(30);
  const again = (await ranStep(tokenize, { task: 'text-classification' }, { data: divided, model: smallModel() })).outputs.tokens!;
  expect(existsSync(join(again, 'tokens.json'))).toBe(true);
  const simple = await ranStep(baseline, { methods: ['majority'] }, { data: divided });
  expect(JSON.parse(readFileSync(simple.outputs.metrics!, 'utf8')).methods.majority.metrics.accuracy).toBeGreaterThan(0.3);
});

test('an undefined metric is null, with the reason', async () => {
  const { model } = await classifier();
  const data = await table(rows({ test: 6 }, ['good']));
  const tokens = (await ranStep(tokenize, {}, { data, model })).outputs.tokens!;
  const { report, metrics, warnings } = await predicted({ model, tokens }, { metrics: ['accuracy', 'roc_auc'] });
  expect(report.metrics).toMatchObject({ accuracy: expect.any(Number), roc_auc: null });
  expect(report.undefined).toEqual({ roc_auc: 'every row has the label good' });
  expect(metrics.roc_auc).toBeNaN();
  expect(warnings).toContain('roc_auc is undefined on the split test: every row has the label good');
});

test('`show --columns --where` prints some columns of the rows that fulfil a condition', async () => {
  const { folder, rows } = await predicted(await classifier());
  const [shown] = await preview(folder, 5, {
    columns: ['loss', 'id'],
    where: 'loss > 0.5 -- comment',
    sort: { column: 'loss', descending: true },
  });
  const of = rows.filter(({ loss }) => loss > 0.5).sort((a, b) => b.loss - a.loss);
  expect(shown!.title).toBe(`table, ${of.length} of 12 rows where loss > 0.5 -- comment, by loss, highest first`);
  expect(shown!.table).toMatchObject({ header: ['loss', 'id'], rows: of.slice(0, 5).map(({ loss, id }) => [String(loss), id]) });
  await expect(preview(folder, 5, { columns: ['los'] })).rejects.toThrow('the table has no column "los"');
  await expect(preview(folder, 5, { where: 'los > 1' })).rejects.toMatchObject({
    message: expect.stringMatching(/^--where los > 1: .*"los" not found/),
    hint: expect.stringContaining('"loss"'),
  });
});

test('`show --sort` prints the rows with the highest or the lowest values of a column', async () => {
  const { folder, rows, outputs } = await predicted(await classifier());
  const shown = async (column: string, descending: boolean, path = folder) => preview(path, 5, { sort: { column, descending } });
  const losses = rows.map(({ loss }) => loss).sort((a, b) => a - b);
  const [worst] = await shown('loss', true);
  expect(worst!.title).toBe('table, 12 rows, by loss, highest first');
  const place = worst!.table!.header.indexOf('loss');
  expect(worst!.table!.rows.map((row) => Number(row[place]))).toEqual(losses.slice(-5).reverse());
  const [best] = await shown('loss', false, join(folder, 'data.parquet'));
  expect(best!.table!.rows.map((row) => Number(row[place]))).toEqual(losses.slice(0, 5));
  await expect(shown('los', true)).rejects.toMatchObject({
    message: 'the table has no column "los"',
    hint: expect.stringContaining('Did you mean "loss"?'),
  });
  expect(await shown('loss', true, outputs.metrics!)).toEqual([]);
  for (const column of rows.length > 0 ? Object.keys(rows[0]!) : []) expect(await shown(column, true)).toHaveLength(1);
});
