/** More mistakes in the files of a bundle that are detected when the server starts. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startServer } from '../../../steps/serving/serve.ts';
import { temporary } from '../../steps/rig.ts';
import { makeBundle, makeModel, remove } from '../../steps/serving/bundle.ts';

let model: string;

let bundle: string;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
});

afterAll(() => remove(model, bundle));

const edited = (name: string, changes: object) => JSON.stringify({ ...JSON.parse(readFileSync(join(bundle, name), 'utf8')), ...changes });

/** A copy of the bundle with one file replaced. */
function withFile(name: string, content: string): string {
  const folder = temporary();
  cpSync(bundle, folder, { recursive: true });
  writeFileSync(join(folder, name), content);
  return folder;
}

const step = (clean: object) => JSON.stringify({ version: 2, steps: [{ clean }] });

const clean = { remove: ['html'], keep_characters: '', lowercase: true, whitespace: 'collapse', normalize: 'NFC' };

test.each<Invalid>([
  ['training.json', () => '{"max_length": ', /training.json/],
  ['training.json', () => '[]', /training.json/],
  ['training.json', () => '{"max_length": "24"}', /max_length is "24"/],
  ['training.json', () => '{"max_length": 4, "pairs": true}', /max_length is 4|cannot process any input/],
  ['preprocessing.json', () => '{"version": 2', /preprocessing.json/],
  ['preprocessing.json', () => step({ ...clean, remove: ['html', 'everything'] }), /"everything"/],
  ['preprocessing.json', () => step({ ...clean, lowercase: 'yes' }), /lowercase/],
  ['special_tokens_map.json', () => '{', /special_tokens_map.json/],
  ['metrics.json', () => '{', /metrics.json/],
  ['config.json', () => edited('config.json', { vocab_size: 1_000_000 }), /cannot read a batch/],
  [
    'config.json',
    () => edited('config.json', { id2label: { 0: 'a', 1: 'b', 2: 'c' }, label2id: { a: 0, b: 1, c: 2 } }),
    /but config.json has 3/,
  ],
  ['training.json', () => '{"max_length": 33}', /exceeds the 32 tokens/],
])('a mistake in %s (%#) is detected at the start', detected);

type Invalid = [file: string, content: () => string, message: RegExp];

async function detected(...[name, content, message]: Invalid): Promise<void> {
  await expect(startServer(withFile(name, content()), { port: 0 })).rejects.toMatchObject({
    name: 'UnusableError',
    message: expect.stringMatching(message),
  });
}
