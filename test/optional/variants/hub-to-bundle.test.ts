/** A model of the hub is trained, deployed and served. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { startHub } from '../../engine/fetch/hub.ts';
import { project, root } from '../../rig.ts';

const YAML = `
name: p
params: { base: hf://owner/tiny@v1 }
steps:
  peek: { uses: ./peek.ts, with: { model: "\${{ params.base }}", files: ["hf://datasets/owner/reviews/*.jsonl", ./own.txt] } }
  collect: { uses: collect, with: { files: "hf://datasets/owner/reviews@main/*.jsonl" } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2], stratify: label, seed: 1 } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: "\${{ params.base }}", max_length: 16 } }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: "\${{ params.base }}", task: text-classification, epochs: 1, batch_size: 8, learning_rate: 1e-3 }
  test: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}" } }
  deploy: { uses: deploy, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", metrics: "\${{ steps.test.metrics }}" } }
`;

const PEEK = `
import { existsSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { defineStep } from 'tunesmith';
export default defineStep({
  name: 'peek', version: 1,
  inputs: { model: 'folder', files: { kind: 'file', many: true } },
  outputs: { seen: 'file' },
  run({ inputs, outputs, addresses, folder }) {
    const paths = [inputs.model, ...inputs.files];
    writeFileSync(outputs.seen, paths.map((path) => (addresses[path] ?? relative(folder, path)) + ' ' + existsSync(path)).join('\\n'));
  },
});`;

test('from the hub to a bundle', async () => {
  const hub = await startHub();
  const p = project({ 'p.yaml': YAML, 'peek.ts': PEEK, 'own.txt': '' });
  Object.assign(p.env, {
    HF_ENDPOINT: hub.url,
    HF_HOME: p.path('hf'),
    HF_TOKEN: undefined,
    HF_HUB_CACHE: undefined,
    HF_HUB_OFFLINE: undefined,
  });
  const tiny = join(root, 'pipelines/models/bert-tiny');
  const files = Object.fromEntries(
    readdirSync(tiny, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((file) => [relative(tiny, file), readFileSync(file)]),
  );
  const config = JSON.parse(String(files['config.json']));
  files['config.json'] = Buffer.from(JSON.stringify({ ...config, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 64 }));
  hub.publish('owner/tiny', files, { ref: 'v1' });
  const rows = (from: number) =>
    Array.from({ length: 20 }, (_, i) =>
      JSON.stringify({ text: `${i % 2 ? 'good' : 'bad'} thing number ${from + i}`, label: i % 2 ? 'pos' : 'neg' }),
    );
  hub.publish('datasets/owner/reviews', { 'a.jsonl': rows(0).join('\n'), 'b.jsonl': rows(20).join('\n') });

  const { cells, events } = await p.states('p.yaml', '-j', '1');
  expect(events.flatMap(({ failure }) => failure ?? [])).toEqual([]);
  expect(new Set(Object.values(cells))).toEqual(new Set(['ran']));
  expect(p.read('.tunesmith/outputs/p/peek/seen').split('\n')).toEqual([
    'hf://owner/tiny true',
    'hf://datasets/owner/reviews/a.jsonl true',
    'hf://datasets/owner/reviews/b.jsonl true',
    'own.txt true',
  ]);
  expect(p.exists('.tunesmith/outputs/p/deploy/bundle/onnx/model.onnx')).toBe(true);
  const card = p.read('.tunesmith/outputs/p/deploy/bundle/README.md');
  expect(card).toContain('datasets:\n  - owner/reviews\n');
  expect(card).toMatch(/40 rows were collected from .*\n\n- `hf:\/\/datasets\/owner\/reviews@[0-9a-f]{40}` \(2 files\)\n/);
  // No output contains the path of the cache on this machine.
  const told = p.find('.tunesmith/outputs').filter((file) => /\.(json|jsonl|md)$/.test(file) && p.read(file).includes('hf/hub'));
  expect(told).toEqual([]);

  // A bundle from a hub answers as its folder does. After one download, it needs no hub.
  const bundle = p.path('.tunesmith/outputs/p/deploy/bundle');
  const published = readdirSync(bundle, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  hub.publish('owner/tuned', Object.fromEntries(published.map((file) => [relative(bundle, file), readFileSync(file)])));
  p.env.TUNESMITH_HOME = p.path('home');
  p.write('new.jsonl', '{"text":"good thing"}\n{"text":"bad thing"}\n');
  const here = await p.run('predict', bundle, 'new.jsonl');
  const fetched = await p.run('predict', 'hf://owner/tuned@main', 'new.jsonl');
  expect(fetched.stderr).toMatch(/^downloading hf:\/\/owner\/tuned@main: \d+ files, [\d.]+ [kM]B\n$/);
  expect([fetched.code, fetched.stdout]).toEqual([0, here.stdout]);
  const unknown = await p.run('predict', 'hf://owner/none', 'new.jsonl');
  expect([unknown.code, unknown.stdout]).toEqual([1, '']);
  expect(unknown.stderr).toContain('there is no model owner/none at');
  expect((await p.run('serve', 'hf:owner/tuned', '--port', '0')).code).toBe(2);

  hub.stop();
  const again = await p.run('predict', 'hf://owner/tuned@main', 'new.jsonl');
  expect([again.code, again.stdout], again.stderr).toEqual([0, here.stdout]);
  expect(new Set(Object.values((await p.states('p.yaml')).cells))).toEqual(new Set(['fresh']));
  const changed = await p.states('p.yaml', '-p', `base=hf://owner/none`);
  expect(changed.cells).toMatchObject({ collect: 'fresh', split: 'fresh', tokenize: 'failed', train: 'skipped' });
});
