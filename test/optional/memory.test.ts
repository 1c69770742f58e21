/** Memory: of a server in a container of 2 GB, under everything that the limits accept, and of tokenize with many rows. */
import { afterAll, expect, test } from 'vitest';
import { Database } from '../../steps/ml/data/database.ts';
import { writeTable } from '../../steps/ml/data/table.ts';
import { readTokensInfo } from '../../steps/ml/models/token-dataset.ts';
import tokenize from '../../steps/tokenize/step.ts';
import { container } from '../container.ts';
import { project } from '../rig.ts';
import { ranStep, temporary } from '../steps/rig.ts';
import { makeBundle, makeModel, remove } from '../steps/serving/bundle.ts';
import { smallModel } from '../steps/small.ts';

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

test('ten times the rows take no more memory', async () => {
  const model = smallModel();
  const peak = async (rows: number): Promise<number> => {
    const data = temporary();
    const database = await Database.open();
    await database.run(
      `CREATE TABLE t AS SELECT lpad(i::VARCHAR, 8, '0') AS id, repeat('the happy day was sad ', 1 + (i % 9)::INT) AS text,
         ['bad', 'good'][1 + (i % 2)::INT] AS label, 'train' AS split FROM range(${rows}) r(i)`,
    );
    await writeTable(database, 't', data);
    database.close();
    const { outputs } = await ranStep(tokenize, { max_length: 32 }, { data, model });
    expect((await readTokensInfo(outputs.tokens!)).splits.train!.rows).toBe(rows);
    return process.resourceUsage().maxRSS / 1024;
  };
  const few = await peak(10_000);
  // If they were kept until the heap happens to be full, the encodings of 90,000 more rows would take over 300 MB.
  expect((await peak(100_000)) - few).toBeLessThan(150);
});
