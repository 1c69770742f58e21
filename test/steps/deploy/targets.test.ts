import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import { instructionsOf } from '../../image.ts';
import { deployFor } from '../../targets.ts';
import { makeModel, remove } from '../serving/bundle.ts';

let model: string;
let http: string;
beforeAll(async () => {
  model = await makeModel();
  http = await deployFor('http', model);
});
afterAll(() => remove(model, http));

const read = (folder: string, name: string) => readFileSync(join(folder, name), 'utf8');

test('the folder of a target contains the bundle, and is opened like the bundle', async () => {
  const bundle = await openBundle(http);
  expect(bundle).toMatchObject({ folder: join(http, 'bundle'), name: 'Tiny mails', labels: ['ham', 'spam'] });
});

test('the same model makes the same files, to the byte', async () => {
  const again = await deployFor('http', model);
  const files = readdirSync(http, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { parentPath, name } of files) {
    const file = join(parentPath, name);
    expect(readFileSync(file).equals(readFileSync(file.replace(http, again))), file).toBe(true);
  }
  remove(again);
});

test('the lockfile has every package that serving needs, each with its hash, and no script', () => {
  const { packages } = JSON.parse(read(http, 'package-lock.json'));
  for (const [folder, entry] of Object.entries<any>(packages)) {
    if (folder === '') continue;
    expect(entry.integrity, folder).toMatch(/^sha512-/);
    expect(entry.hasInstallScript, folder).toBeUndefined();
    for (const name of Object.keys(entry.dependencies ?? {}))
      expect(packages[`${folder}/node_modules/${name}`] ?? packages[`node_modules/${name}`], `${name} of ${folder}`).toBeDefined();
  }
  expect(Object.keys(packages)).toContain('node_modules/onnxruntime-node');
  expect(Object.keys(packages)).not.toContain('node_modules/@duckdb/node-api');
});

test('the image has a pinned base, no build tools, a user without rights and a health check', () => {
  const all = instructionsOf(read(http, 'Dockerfile'));
  for (const { rest } of all.filter(({ name }) => name === 'FROM')) expect(rest).toMatch(/^[a-z]+:\d+\.\d+(\.\d+)?-[a-z-]+( AS \w+)?$/);
  const last = all.slice(all.findLastIndex(({ name }) => name === 'FROM'));
  expect(last.map(({ name }) => name)).not.toContain('RUN');
  expect(last.find(({ name }) => name === 'USER')!.rest).toBe('10001:10001');
  expect(last.some(({ name }) => name === 'HEALTHCHECK')).toBe(true);
});
