/** Each model family through the whole pipeline. */
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { InferenceSession } from '../../../steps/ml/runtime/onnx/library.ts';
import { root, sharedProject } from '../../rig.ts';

const pipeline = (families: string[]) => `
steps:
  collect: { uses: collect, with: { files: data.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2], stratify: label } }
  tokenize:
    uses: tokenize
    matrix: { family: [${families.join(', ')}] }
    with: { data: "\${{ steps.split.data }}", model: "models/\${{ matrix.family }}", max_length: 30 }
  train:
    uses: train
    resources: { cpu: 1 }
    with:
      tokens: \${{ steps.tokenize.tokens }}
      model: models/\${{ matrix.family }}
      task: text-classification
      epochs: 4
      batch_size: 8
      learning_rate: 0.01
  test: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}", split: test } }
  deploy: { uses: deploy, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", metrics: "\${{ steps.test.metrics }}" } }
`;

const TEXTS = { a: 'the quick cat sat on the mat', b: 'Meeting moved to Monday, bring the notes' };

const data = Array.from({ length: 60 }, (_, i) => Object.entries(TEXTS).map(([label, text]) => `"${text} ${i}",${label}\n`));

const small = { vocab_size: 330, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64 };

/** With random weights of the usual scale, two narrow layers would have almost no effect. */
const wide = { initializer_range: 0.1, max_position_embeddings: 40 };

const FAMILIES: [family: string, tokenizer: string, config: object][] = [
  ['roberta', 'roberta', { ...small, ...wide, type_vocab_size: 1, pad_token_id: 1 }],
  ['distilbert', 'bert-uncased', { vocab_size: 330, dim: 32, n_layers: 2, n_heads: 2, hidden_dim: 64, ...wide }],
  ['albert', 'bert-cased', { ...small, ...wide, embedding_size: 16 }],
  ['xlm-roberta', 'xlm-roberta', { ...small, ...wide, type_vocab_size: 1, pad_token_id: 1 }],
  ['camembert', 'camembert', { ...small, ...wide, type_vocab_size: 1, pad_token_id: 1 }],
  ['electra', 'electra', { ...small, ...wide, embedding_size: 16 }],
  ['modernbert', 'modernbert', { ...small, ...wide, global_attn_every_n_layers: 2, local_attention: 8, pad_token_id: 317 }],
];

const p = sharedProject();

let cells: Record<string, string> = {};

/** One run for all families, whose steps share their processes. */
beforeAll(async () => {
  p.write('p.yaml', pipeline(FAMILIES.map(([family]) => family)));
  p.write('data.csv', `text,label\n${data.flat().join('')}`);
  p.write('in.txt', Object.values(TEXTS).join('\n'));
  for (const [model_type, tokenizer, config] of FAMILIES) {
    const folder = p.path(`models/${model_type}`);
    cpSync(join(root, 'test/golden/tokenizer', tokenizer), folder, { recursive: true });
    rmSync(join(folder, 'expected.json'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, model_type }));
  }
  ({ cells } = await p.states('p.yaml', '--on-failure', 'continue'));
});

test.each(FAMILIES)('%s', async (model_type) => {
  const cell = `[family=${model_type}]`;
  for (const step of ['tokenize', 'train', 'test', 'deploy']) expect(cells).toMatchObject({ [step + cell]: 'ran' });
  const outputs = '.tunesmith/outputs/p';
  expect(JSON.parse(p.read(`${outputs}/test${cell}/metrics`)).metrics.accuracy).toBe(1);

  const bundle = `${outputs}/deploy${cell}/bundle`;
  const session = await InferenceSession.create(readFileSync(p.path(`${bundle}/onnx/model.onnx`)));
  const typed = ['albert', 'electra'].includes(model_type);
  expect([...session.inputNames].sort()).toEqual(['attention_mask', 'input_ids', ...(typed ? ['token_type_ids'] : [])]);

  // A bundle uses its ONNX model; for a model folder, one is made from its weights.
  const answers = [];
  for (const folder of [bundle, `${outputs}/train${cell}/model`]) {
    const { stdout } = await p.run('predict', folder, 'in.txt');
    answers.push(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    );
  }
  expect(answers[0]!.map(({ label }) => label)).toEqual(['a', 'b']);
  expect(answers[1]).toEqual(answers[0]);
});
