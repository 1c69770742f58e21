/** Memory: of a server in a container of 2 GB, under everything that the limits accept, and of tokenize and evaluate with many rows. */
import { afterAll, expect, test } from 'vitest';
import evaluate from '../../steps/evaluate/step.ts';
import { Database } from '../../steps/ml/data/database.ts';
import { writeTable } from '../../steps/ml/data/table.ts';
import { readTokensInfo } from '../../steps/ml/models/token-dataset.ts';
import tokenize from '../../steps/tokenize/step.ts';
import train from '../../steps/train/step.ts';
import { container } from '../container.ts';
import { project } from '../rig.ts';
import { ranStep, temporary } from '../steps/rig.ts';
import { makeBundle, makeModel, remove } from '../steps/serving/bundle.ts';
import { smallModel } from '../steps/small.ts';
import { describeTable } from '../table.ts';

const group = container(2 ** 31);
const model = await makeModel();
const bundle = await makeBundle(model);

afterAll(() => {
  remove(model, bundle);
  group?.remove();
});

test.skipIf(!group)('a server in 2 GB (needs permission to make a cgroup) answers after bodies of 10 MB of the worst texts', async () => {
  const p = project();
  const server = p.start('serve', bundle, '--port', '0');
  group!.add(server.pid);
  await p.until(() => server.output().includes('http://'));
  const url = /http:\/\/\S+/.exec(server.output())![0];
  const post = async (inputs: unknown, milliseconds: number): Promise<number | string> => {
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ inputs }) };
    return fetch(`${url}/predict`, { ...options, signal: AbortSignal.timeout(milliseconds) }).then(
      ({ status }) => status,
      (error: Error) => error.name,
    );
  };
  for (const text of ['漢字'.repeat(50_000), `a${'\u0301\u0316'.repeat(49_999)}`, '<a&amp;'.repeat(14_000)]) {
    const inputs = new Array(Math.floor(9.5e6 / Buffer.byteLength(text))).fill(text);
    for (const outcome of await Promise.all([1, 2, 3, 4, 5, 6].map(() => post(inputs, 3000))))
      expect([200, 503, 'TimeoutError']).toContain(outcome);
  }
  // It is served in its turn, whatever is left of the others.
  expect(await post('still there?', 60_000)).toBe(200);
  expect(group!.kills()).toBe(0);
  server.kill('SIGTERM');
  expect((await server.done).code).toBe(0);
});

/** A data artifact with so many rows. */
async function dataOf(rows: number): Promise<string> {
  const data = temporary();
  const database = await Database.open();
  await database.run(
    `CREATE TABLE t AS SELECT lpad(i::VARCHAR, 8, '0') AS id, repeat('the happy day was sad ', 1 + (i % 9)::INT) AS text,
       ['bad', 'good'][1 + (i % 2)::INT] AS label, 'train' AS split FROM range(${rows}) r(i)`,
  );
  await writeTable(database, 't', data);
  database.close();
  return data;
}

/** The peak of this process so far, in MB. */
const peak = (): number => process.resourceUsage().maxRSS / 1024;

test('tokenize: ten times the rows take no more memory', async () => {
  const model = smallModel();
  const peakOf = async (rows: number): Promise<number> => {
    const { outputs } = await ranStep(tokenize, { max_length: 32 }, { data: await dataOf(rows), model });
    expect((await readTokensInfo(outputs.tokens!)).splits.train!.rows).toBe(rows);
    return peak();
  };
  const few = await peakOf(10_000);
  // If they were kept until the heap happens to be full, the encodings of 90,000 more rows would take over 300 MB.
  expect((await peakOf(100_000)) - few).toBeLessThan(150);
});

test('evaluate: ten times the rows take no more memory, with predictions and the columns of the data', async () => {
  const base = smallModel();
  const small = (await ranStep(tokenize, {}, { data: await dataOf(16), model: base })).outputs.tokens!;
  const { model } = (await ranStep(train, { max_steps: 1, eval_strategy: 'no' }, { tokens: small, model: base })).outputs;
  const made = await Promise.all(
    [10_000, 100_000].map(async (rows) => {
      const data = await dataOf(rows);
      return { rows, data, tokens: (await ranStep(tokenize, { max_length: 32 }, { data, model: base })).outputs.tokens! };
    }),
  );
  const peaks: number[] = [];
  for (const { rows, data, tokens } of made) {
    const { outputs } = await ranStep(evaluate, { split: 'train', batch_size: 256 }, { data, tokens, model: model! });
    expect((await describeTable(outputs.predictions!)).rows).toBe(rows);
    peaks.push(peak());
  }
  // Ids, labels and scores are in memory for the join, but neither texts nor logits.
  expect(peaks[1]! - peaks[0]!).toBeLessThan(150);
});
