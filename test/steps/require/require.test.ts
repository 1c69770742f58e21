/** Gates by the real command: which model passes, what is said of one that does not, and what is never shipped. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { sharedProject } from '../../rig.ts';
import { modelOf } from '../small.ts';

const MAKE = `
name: made
steps:
  collect: { uses: collect, with: { files: rows.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.5, 0.1, 0.4], key: [id] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, max_length: 16 } }
  good:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, task: text-classification, epochs: 6, batch_size: 8, learning_rate: 0.005, dropout: 0 }
  weak:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, task: text-classification, max_steps: 1, batch_size: 8, learning_rate: 0.005, dropout: 0 }
  evaluate: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.good.model }}", tokens: "\${{ steps.tokenize.tokens }}", metrics: [f1, accuracy] } }
  baseline: { uses: baseline, with: { data: "\${{ steps.split.data }}", methods: [majority] } }
`;

function rows(): string {
  const lines = ['id,text,label'];
  for (let i = 0; i < 240; i++) {
    const spam = i % 3 === 0;
    lines.push(`${i},${[0, 1].map((k) => `${spam ? 'buy' : 'lunch'}${(i * 7 + k * 3) % 5}`).join(' ')},${spam ? 'spam' : 'ham'}`);
  }
  return `${lines.join('\n')}\n`;
}

const out = '.tunesmith/outputs/made';
const p = sharedProject({
  'make.yaml': MAKE,
  'rows.csv': rows(),
  'metrics.json': JSON.stringify({
    metrics: { f1: 0.93, accuracy: 0.96, roc_auc: null, 'gap.source': 0.08 },
    intervals: { f1: { low: 0.9, high: 0.95 } },
    undefined: { roc_auc: 'it needs at least one example of every label' },
    classes: { spam: { recall: 0.91 } },
  }),
});

beforeAll(async () => {
  mkdirSync(p.path('model'));
  const size = { hidden_size: 16, num_hidden_layers: 1, intermediate_size: 16, max_position_embeddings: 32, initializer_range: 0.2 };
  modelOf(
    [0, 1, 2, 3, 4].flatMap((i) => [`buy${i}`, `lunch${i}`]),
    size,
    p.path('model'),
  );
  const { code, screen } = await p.run('run', 'make.yaml', '--plain');
  expect(code, screen).toBe(0);
});

/** A pipeline of a gate, and a bundle of the model that passes it. */
function gate(name: string, lines: string[], { model = 'good', metrics = 'metrics.json' as string | undefined } = {}): string {
  const own = [`model: ${out}/${model}/model`, ...(metrics === undefined ? [] : [`metrics: ${metrics}`]), ...lines];
  p.write(
    `${name}.yaml`,
    `name: ${name}
steps:
  gate:
    uses: require
    resources: { cpu: 1 }
    with:
${own.map((line) => `      ${line}\n`).join('')}  ship: { uses: deploy, resources: { cpu: 1 }, with: { model: "\${{ steps.gate.model }}" } }
`,
  );
  return `${name}.yaml`;
}

const bytes = (folder: string) =>
  p.find(folder).map((file) => [file.slice(folder.length), createHash('sha256').update(p.read(file)).digest('hex')]);

test('a model that meets its limits passes byte for byte, and is deployed', async () => {
  const file = gate('passes', ['limits: { f1: ">= 0.93", f1.lower: "> 0.89", accuracy: "== 0.96", classes.spam.recall: ">= 0.9" }']);
  const { code, screen } = await p.run('run', file, '--plain');
  expect(code, screen).toBe(0);
  expect(screen).toContain('limits met: f1 0.93 >= 0.93, f1.lower 0.9 > 0.89, accuracy 0.96 == 0.96, classes.spam.recall 0.91 >= 0.9');
  expect(bytes('.tunesmith/outputs/passes/gate/model')).toEqual(bytes(`${out}/good/model`));
  expect(p.exists('.tunesmith/outputs/passes/ship/bundle/config.json')).toBe(true);
  const verdict = JSON.parse(p.read('.tunesmith/outputs/passes/gate/verdict'));
  expect(verdict).toMatchObject({
    passed: true,
    requirements: [{ metric: 'f1', from: 'metrics.json', limit: '>= 0.93', value: 0.93, passed: true }, {}, {}, {}],
  });
});

test('a failure lists every missed limit and by how much; nothing is deployed, and the verdict can be read', async () => {
  const file = gate('misses', [
    'limits: { f1: ">= 0.95", accuracy: ">= 0.9", gap.source: "<= 0.05", f1.lower: "> 0.9", roc_auc: ">= 0.5" }',
  ]);
  const { code, screen } = await p.run('run', file, '--plain');
  expect(code).toBe(1);
  console.log(screen);
});
