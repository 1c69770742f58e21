/** The limits on the page of a server that generates. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { smallGpt2 } from '../../steps/writers.ts';

let folder: string;

let server: RunningServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tunesmith-writer-'));
  smallGpt2(folder, { initializer_range: 0.6, n_positions: 4000 });
  await saveModel(folder, await startModel(folder, { task: 'causal-lm', labels: [], seed: 3, say: () => {} }));
  server = await startServer(folder, { port: 0, limits: { texts: 4, newTokens: 3000, seconds: 600, waiting: 100_000 } });
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the page requests at most as many tokens as the server allows', async () => {
  const asks = async (limits: { newTokens?: number }) => {
    const own = await startServer(folder, { port: 0, limits });
    const html = await (await fetch(own.url)).text();
    await own.close();
    return /const most = (\d+);[\s\S]*max_new_tokens: most/.exec(html)?.[1];
  };
  expect([await asks({ newTokens: 30 }), await asks({})]).toEqual(['30', '100']);
});
