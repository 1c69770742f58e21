/**
 * The targets of `deploy`: each image is built as its Dockerfile says, without Docker, in an empty folder and by an unprivileged user.
 * Then the test plays the platform against the command of the image. Needs the npm registry.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startServer } from '../../steps/serving/serve.ts';
import { buildImage, type Image } from '../image.ts';
import { makeBundle, makeModel, remove } from '../steps/serving/bundle.ts';
import { deployFor, freePort, post, ready } from '../targets.ts';

const TEXTS = ['Buy <b>now</b> at http://example.org', 'See you at 7.', '', 'Straße, ÇA VA? 🙂 '.repeat(40)];

let model: string;
/** What our own server answers. */
let expected: unknown[];

beforeAll(async () => {
  model = await makeModel();
  const bundle = await makeBundle(model);
  const server = await startServer(bundle, { port: 0, say: () => {} });
  expected = (await post(`${server.url}/predict`, { inputs: TEXTS })).json().predictions;
  await server.close();
  remove(bundle);
});
afterAll(() => remove(model));

describe('http', () => {
  let image: Image;
  let port: number;
  beforeAll(async () => {
    const folder = await deployFor('http', model);
    port = await freePort();
    image = buildImage(folder, (words) => words.map((word) => word.replaceAll('8080', String(port))));
    remove(folder);
  });
  afterAll(() => image?.remove());

  test('answers as serve does, is healthy, and answers a running request after SIGTERM', async () => {
    const running = image.start();
    onTestFinished(() => void running.child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${port}`;
    expect(image.isHealthy()).toBe(false);
    await ready(`${url}/health`, running);
    expect(image.isHealthy()).toBe(true);
    expect((await post(`${url}/predict`, { inputs: TEXTS })).json()).toEqual({ predictions: expected });
    const many = post(`${url}/predict`, { inputs: Array(200).fill(TEXTS[0]) });
    await new Promise((resolve) => setTimeout(resolve, 30));
    running.child.kill('SIGTERM');
    expect((await many).json().predictions).toHaveLength(200);
    expect(await running.ended).toBe(0);
  });

  test('has only what serving needs', () => {
    const modules = join(image.workdir, 'node_modules');
    for (const name of ['@duckdb', 'esbuild', 'tsx', '@tensorflow', 'npm']) expect(existsSync(join(modules, name)), name).toBe(false);
    expect(existsSync(join(image.workdir, 'package-lock.json'))).toBe(false);
  });
});
