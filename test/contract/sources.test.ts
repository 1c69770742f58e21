/** Remote models and data with the real CLI: the hub, its cache, and failures. */
import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixture, listing, MODEL } from './hub-project.ts';

test('a model is downloaded once, with all files that it needs, to the shared cache', async () => {
  const { hub, p } = await fixture();
  const commit = hub.publish('owner/tiny', MODEL);
  const first = await p.states('p.yaml');
  expect(first.cells).toEqual({ list: 'ran' });
  const size = Object.entries(MODEL).reduce((sum, [name, content]) => (/^(\.|onnx|pytorch)/.test(name) ? sum : sum + content.length), 0);
  expect(first.events.findLast(({ type }) => type === 'progress')).toMatchObject({ cell: 'list', done: size, total: size });
  expect(p.read('.tunesmith/logs/1/list.log')).toBe(`hf://owner/tiny is ${commit.slice(0, 12)}\ndownloading 6 files, 0.8 MB\n`);
  const taken = ['./1_Pooling/config.json', './README.md', './config.json', './model.safetensors', './tokenizer.json', './vocab.txt'];
  expect(p.read('out/list.txt').trim().split('\n')).toEqual(taken);
  const snapshot = p.path(`hf/hub/models--owner--tiny/snapshots/${commit}`);
  expect(readFileSync(join(snapshot, 'model.safetensors'), 'utf8')).toBe(MODEL['model.safetensors']);
  expect(realpathSync(join(snapshot, 'config.json'))).toContain('/blobs/');
  expect(p.read('hf/hub/models--owner--tiny/refs/main')).toBe(commit);

  hub.requests.length = 0;
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'fresh' });
  expect(hub.requests.map(({ url }) => url.split('?')[0])).toEqual(['/api/models/owner/tiny/revision/main']);
});

test('a file, a folder, a glob, a tag, a pull request: every way to select a part', async () => {
  const { hub, p } = await fixture(`
params: { base: hf://models/owner/tiny@refs%2Fpr%2F1/config.json }
steps:
  file: { run: "cat \${{ inputs.in }} > \${{ outputs.out }}", inputs: { in: "\${{ params.base }}" }, outputs: { out: out/file } }
  pr: { run: "cat \${{ inputs.in }} > \${{ outputs.out }}", inputs: { in: hf://owner/tiny@refs/pr/1/config.json }, outputs: { out: out/pr } }
  folder: { run: "ls \${{ inputs.in }} > \${{ outputs.out }}", inputs: { in: hf://owner/tiny@v1/1_Pooling }, outputs: { out: out/folder } }
  glob:
    run: for f in \${{ inputs.in }}; do basename $f; done > \${{ outputs.out }}
    inputs: { in: "hf://owner/tiny/*.{json,txt}" }
    outputs: { out: out/glob }
  unowned: { run: "ls \${{ inputs.in }} > \${{ outputs.out }}", inputs: { in: hf://tiny }, outputs: { out: out/unowned } }
`);
  hub.publish('owner/tiny', { 'config.json': 'of the tag', '1_Pooling/config.json': '{}' }, { ref: 'v1' });
  hub.publish('owner/tiny', { 'config.json': 'of the pull request' }, { ref: 'refs/pr/1' });
  hub.publish('owner/tiny', MODEL);
  hub.publish('tiny', { 'config.json': '{}', 'model.safetensors': '' });
  const { code, stderr } = await p.run('run', 'p.yaml', '--plain');
  expect([code, stderr]).toEqual([0, '']);
  expect(p.read('out/file')).toBe('of the pull request');
  expect(p.read('out/pr')).toBe('of the pull request');
  expect(p.read('out/folder')).toBe('config.json\n');
  expect(p.read('out/glob')).toBe('config.json\ntokenizer.json\nvocab.txt\n');
  expect(p.read('out/unowned')).toBe('config.json\nmodel.safetensors\n');
});

test('a step receives a folder with exactly the selected files, and a copy of it is complete', async () => {
  const { hub, p } = await fixture(`
steps:
  copy: { run: "cp -r \${{ inputs.model }} \${{ outputs.copy }}", inputs: { model: hf://owner/tiny }, outputs: { copy: out/copy } }
  read: { run: "cat \${{ inputs.model }}/config.json > \${{ outputs.out }}", inputs: { model: out/copy }, outputs: { out: out/read } }
`);
  const commit = hub.publish('owner/tiny', MODEL);
  // Files that another library has added.
  p.write(`hf/hub/models--owner--tiny/snapshots/${commit}/pytorch_model.bin`, 'pickle');
  expect((await p.states('p.yaml')).cells).toEqual({ copy: 'ran', read: 'ran' });
  expect(p.read('out/read')).toBe(MODEL['config.json']);
  expect(p.exists('out/copy/pytorch_model.bin')).toBe(false);
});

test('a broken download is resumed', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  hub.trouble({ at: 'cdn/', cut: 300_000 });
  hub.trouble({ at: 'cdn/', cut: 100_000 });
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
  const ranges = hub.requests.filter(({ server }) => server === 'cdn').map(({ range }) => range);
  expect(ranges).toEqual([undefined, 'bytes=300000-', 'bytes=400000-']);
});

test('a failure is reported at the address in the pipeline', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/other', MODEL);
  const { screen, code } = await p.run('run', 'p.yaml', '--plain');
  expect(code).toBe(1);
  expect(screen.replaceAll(new URL(hub.url).host, 'hub')).toMatchInlineSnapshot(`
    "list: failed after <time>: there is no model owner/tiny at hub, or it is private or gated
      p.yaml:5:22
      5 |     inputs: { model: "hf://owner/tiny" }
        |                      ^^^^^^^^^^^^^^^^^
      Check the name. If it is correct, set HF_TOKEN, and accept the terms at http://hub/owner/tiny if there are any.
      log: .tunesmith/logs/1/list.log
    p: 1 failed · <time>
      failed: list
    "
  `);
});

test('the token is sent only to the hub, wherever it is set', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL, { private: true });
  hub.tokens.set('hf_mine', { mayRead: ['owner/tiny'] });
  p.env.HF_TOKEN = 'hf_mine';
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
  for (const { server, authorization } of hub.requests) expect(authorization).toBe(server === 'hub' ? 'Bearer hf_mine' : undefined);
  expect(hub.requests.some(({ server }) => server === 'cdn')).toBe(true);
  const kept = [...p.find('.tunesmith'), ...p.find('hf')].filter((file) => p.read(file).includes('hf_mine'));
  expect(kept).toEqual([]);

  p.env.HF_TOKEN = undefined;
  p.remove('hf');
  p.write('hf/token', 'hf_mine\n');
  expect((await p.states('p.yaml', '--force')).cells).toEqual({ list: 'ran' });
  p.remove('hf');
  p.write('elsewhere', 'hf_mine');
  p.env.HF_TOKEN_PATH = p.path('elsewhere');
  expect((await p.states('p.yaml', '--force')).cells).toEqual({ list: 'ran' });
});

test('validate needs no network; status writes nothing', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  expect((await p.run('validate', 'p.yaml')).code).toBe(0);
  expect(hub.requests).toEqual([]);
  const before = p.snapshot();
  expect((await p.run('status', 'p.yaml')).code).toBe(0);
  expect((await p.run('run', 'p.yaml', '--dry-run')).code).toBe(0);
  expect(p.snapshot()).toEqual(before);
});

test('the path of a download is not allowed in env', async () => {
  const { p } = await fixture(listing('hf://owner/tiny', '\n    env: { MODEL: "${{ inputs.model }}" }'));
  expect((await p.run('validate', 'p.yaml')).screen).toMatchInlineSnapshot(`
    "p.yaml:7:20: error: the path of the download hf://owner/tiny is known only when the cell starts
      7 |     env: { MODEL: "\${{ inputs.model }}" }
        |                    ^^^^^^^^^^^^^^^^^^^
      = Write \${{ inputs.model }} in \`run\`.
    "
  `);
});
