/** One client cannot harm another: an invalid input fails alone. */
import { expect, test } from 'vitest';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import { Queue } from '../../../steps/serving/queue.ts';
import { startServer } from '../../../steps/serving/serve.ts';
import { startWorkers } from '../../../steps/serving/workers.ts';
import { folderOf, small } from './bundle.ts';

const bert = { config: { ...small, model_type: 'bert' }, tokenizer: 'bert-uncased' };

test('a question that is too long is rejected; requests that share its batch are answered', async () => {
  const server = await startServer(await folderOf({ ...bert, start: { task: 'question-answering', labels: [] } }), { port: 0 });
  const post = async (inputs: unknown) => {
    const body = JSON.stringify({ inputs });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${server.url}/predict`, { method: 'POST', headers, body });
    return { status: response.status, ...((await response.json()) as any) };
  };
  const good = { question: 'who sat', context: 'the cat sat on the mat' };
  const bad = { question: 'who sat on the mat '.repeat(10), context: 'the cat' };
  const { predictions } = await post([good]);
  const requests = Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? [bad] : [good]));
  for (const [i, { status, ...answer }] of (await Promise.all(requests.map(post))).entries()) {
    expect(status).toBe(i % 3 === 0 ? 400 : 200);
    if (i % 3 === 0) expect(answer.error.message).toMatch(/^the question has \d+ tokens/);
    else expect(answer.predictions[0]).toMatchObject({ answer: predictions[0].answer, start: predictions[0].start });
  }
  expect((await post([good, bad, good])).error.message).toMatch(/^"inputs\[1\]": the question has \d+ tokens/);
  await server.close();
});

test('a batch that the model cannot run is run again one by one', async () => {
  const config = { ...bert.config, vocab_size: 141 };
  const folder = await folderOf({ ...bert, config, start: { task: 'text-classification', labels: ['a', 'b'] } });
  // Without the check that tokenizer and model belong together, it accepts ids that have no embedding.
  const queue = new Queue(await startWorkers({ ...(await openBundle(folder)), vocabulary: undefined }, 1), { tokens: 512 });
  const outcomes = await queue.answer(['a', 'the cat sat on the mat', 'b'].map((text) => ({ text })));
  expect(outcomes).toEqual([
    { prediction: expect.objectContaining({ label: expect.any(String) }) },
    { failed: expect.objectContaining({ message: expect.stringContaining('cannot read a batch of 1 × 8 tokens') }) },
    { prediction: expect.objectContaining({ label: expect.any(String) }) },
  ]);
  await queue.close();
});
