/** Models and data from elsewhere, through the real CLI: the hub, its cache, and what may go wrong on the way. */
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startHub } from '../engine/sources/hub.ts';
import { project } from '../rig.ts';

const MODEL = {
  'config.json': '{"model_type":"bert"}',
  'tokenizer.json': '{}',
  'vocab.txt': 'a\nb\n',
  'README.md': '# tiny\n',
  '.gitattributes': '*.bin lfs\n',
  'model.safetensors': 'w'.repeat(5000),
  'pytorch_model.bin': 'pickle',
  'onnx/model.onnx': 'onnx',
  'onnx/config.json': '{}',
  '1_Pooling/config.json': '{"mean":true}',
};

const LIST = `
steps:
  list:
    run: cd \${{ inputs.model }} && find -L . -type f | sort > "$OLDPWD"/\${{ outputs.list }}
    inputs: { model: hf://owner/tiny }
    outputs: { list: out/list.txt }
`;

async function fixture(yaml = LIST) {
  const hub = await startHub();
  const p = project({ 'p.yaml': yaml });
  Object.assign(p.env, {
    HF_ENDPOINT: hub.url,
    HF_HOME: p.path('hf'),
    HF_TOKEN: undefined,
    HF_HUB_OFFLINE: undefined,
    HF_HUB_CACHE: undefined,
  });
  return { hub, p };
}

test('a model comes with what a model needs, once', async () => {
  const { hub, p } = await fixture();
  const commit = hub.publish('owner/tiny', MODEL);
  const first = await p.states('p.yaml');
  expect(first.cells).toEqual({ list: 'ran' });
  expect(p.read('out/list.txt').trim().split('\n')).toEqual([
    './1_Pooling/config.json',
    './README.md',
    './config.json',
    './model.safetensors',
    './tokenizer.json',
    './vocab.txt',
  ]);
  const snapshot = p.path(`hf/hub/models--owner--tiny/snapshots/${commit}`);
  expect(readFileSync(join(snapshot, 'model.safetensors'), 'utf8')).toBe(MODEL['model.safetensors']);
  expect(realpathSync(join(snapshot, 'config.json'))).toContain('/blobs/');
  expect(p.read('hf/hub/models--owner--tiny/refs/main')).toBe(commit);

  hub.requests.length = 0;
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'fresh' });
  expect(hub.requests.map(({ url }) => url.split('?')[0])).toEqual(['/api/models/owner/tiny/revision/main']);
});
