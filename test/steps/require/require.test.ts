/** Gates by the real command: which model passes, what is said of one that does not, and what is never shipped. */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import step from '../../../steps/require/step.ts';
import { sharedProject } from '../../rig.ts';
import { ranStep } from '../rig.ts';
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
function gate(name: string, lines: string[]): string {
  const own = [`model: ${out}/good/model`, 'metrics: metrics.json', ...lines];
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

test('a model that meets its limits and is better than another one passes byte for byte, and is deployed', async () => {
  const file = gate('passes', [
    `data: ${out}/split/data`,
    `limits: { f1: ">= 0.93", "gap.source": "<= 0.1", "f1.lower": "> 0.89", accuracy: "== 0.96", classes.spam.recall: ">= 0.9", better_than: { model: ${out}/weak/model, metric: accuracy, p: 0.05 } }`,
  ]);
  const { code, screen } = await p.run('run', file, '--plain');
  expect(code, screen).toBe(0);
  expect(screen).toContain(
    'limits met: f1 0.93 >= 0.93, gap.source 0.08 <= 0.1, f1.lower 0.9 > 0.89, accuracy 0.96 == 0.96, classes.spam.recall 0.91 >= 0.9',
  );
  expect(bytes('.tunesmith/outputs/passes/gate/model')).toEqual(bytes(`${out}/good/model`));
  expect(p.exists('.tunesmith/outputs/passes/ship/bundle/config.json')).toBe(true);
  const verdict = JSON.parse(p.read('.tunesmith/outputs/passes/gate/verdict'));
  expect(verdict).toMatchObject({
    passed: true,
    requirements: [{ metric: 'f1', from: 'metrics.json', limit: '>= 0.93', value: 0.93, passed: true }, {}, {}, {}, {}],
    better_than: { metric: 'accuracy', split: 'test', rows: 96, value: 1, test: { name: 'mcnemar', only_other: 0 }, passed: true },
  });
  expect(screen).toMatch(
    /better than \S+weak\/model: accuracy is 1 and was 0\.\d+, difference 0\.\d+ \[.*\], p [\de.-]+ \(McNemar's test, at most 0.05\)/,
  );
  expect(JSON.parse(p.read(`${out}/evaluate/metrics`)).metrics.accuracy).toBe(verdict.better_than.value);
});

test('a failure lists every missed limit and by how much; nothing is deployed, and the verdict can be read', async () => {
  const file = gate('misses', [
    'limits: { f1: ">= 0.95", accuracy: ">= 0.9", gap.source: "<= 0.05", f1.lower: "> 0.9", roc_auc: ">= 0.5" }',
  ]);
  const { code, screen } = await p.run('run', file, '--plain');
  expect(code).toBe(1);
  expect(screen).toContain(
    'gate: failed after <time>: 4 of 5 requirements are missed: f1 (metrics.json) is 0.93, but must be >= 0.95: missed by 0.02; ' +
      'gap.source (metrics.json) is 0.08, but must be <= 0.05: missed by 0.03; f1.lower (metrics.json) is 0.9, but must be > 0.9; ' +
      'roc_auc (metrics.json) must be >= 0.5, but is undefined: it needs at least one example of every label\n  misses.yaml:9:15',
  );
  expect(screen).toContain('skipped: ship');
  expect(p.exists('.tunesmith/outputs/misses/gate/model')).toBe(false);
  expect(p.exists('.tunesmith/failed/gate/model')).toBe(false);
  const shown = await p.run('show', '.tunesmith/failed/gate/verdict');
  expect(shown.code, shown.screen).toBe(0);
  expect(JSON.parse(p.read('.tunesmith/failed/gate/verdict'))).toMatchObject({
    passed: false,
    requirements: [
      { metric: 'f1', value: 0.93, passed: false, missed_by: expect.closeTo(0.02, 12) },
      { metric: 'accuracy', passed: true },
      { metric: 'gap.source', missed_by: expect.closeTo(0.03, 12) },
      { metric: 'f1.lower', value: 0.9, missed_by: 0 },
      { metric: 'roc_auc', value: null, missed_by: null, undefined: 'it needs at least one example of every label' },
    ],
  });
});

/** Runs the step alone, with the models that `make.yaml` trained. */
function ran(
  options: object,
  { model = 'good', other, metrics = [], data = 'split' }: { model?: string; other?: string; metrics?: string[]; data?: string },
) {
  const folder = (name: string) => p.path(`${out}/${name}/model`);
  const files = metrics.map((name) => p.path(name));
  const names = Object.fromEntries(
    metrics.map((name) => [p.path(name), name.includes('/') ? `steps.${name.split('/').at(-2)}.metrics` : name]),
  );
  const inputs = {
    model: folder(model),
    ...(files.length > 0 && { metrics: files }),
    ...(other !== undefined && { 'limits.better_than.model': folder(other), data: p.path(`${out}/${data}/data`) }),
  };
  return ranStep(step, { split: 'test', ...options }, inputs, {}, { names: { ...names, [folder('good')]: 'steps.good.model' } });
}

const better = (metric: string, more: object = {}) => ({ better_than: { metric, p: 0.05, resamples: 200, ...more } });
const limits = (given: object) => ({ limits: given });

test('two files of the same name are told apart by their folders', async () => {
  p.write('one/test/metrics', p.read('metrics.json'));
  p.write('one/other/metrics', JSON.stringify({ metrics: { f1: 0.1 } }));
  const files = { model: p.path(`${out}/good/model`), metrics: [p.path('one/test/metrics'), p.path('one/other/metrics')] };
  const judged = (limits: object) => ranStep(step, { split: 'test', limits }, files);
  await expect(judged({ f1: '>= 0.9' })).rejects.toMatchObject({ hint: 'Write which one is meant: "test.f1" or "other.f1".' });
  await judged({ 'test.f1': '>= 0.9', 'other/metrics.f1': '<= 0.2' });
});

test('the model that is passed on has files instead of links, which would not outlive their targets', async () => {
  mkdirSync(p.path('linked'));
  const model = p.path(`${out}/good/model`);
  for (const name of readdirSync(model)) symlinkSync(`../${out}/good/model/${name}`, p.path(`linked/${name}`));
  const { outputs } = await ranStep(
    step,
    { split: 'test', limits: { f1: '>= 0.9' } },
    { model: p.path('linked'), metrics: [p.path('metrics.json')] },
  );
  rmSync(p.path('linked'), { recursive: true });
  expect(readdirSync(outputs.model!)).toEqual(readdirSync(model));
  for (const name of readdirSync(model)) expect(lstatSync(`${outputs.model}/${name}`).isSymbolicLink()).toBe(false);
});

test('better_than: rows without a split may be training rows, so they are compared only with `split: false`', async () => {
  const about = { other: 'weak', data: 'collect' };
  await expect(ran(limits(better('accuracy')), about)).rejects.toMatchObject({
    message: 'the data have no column `split`, so they may contain training rows',
    hint: expect.stringContaining('write `split: false`'),
    option: ['data'],
  });
  const { outputs } = await ran({ ...limits(better('accuracy')), split: false }, about);
  expect(JSON.parse(readFileSync(outputs.verdict!, 'utf8')).better_than).toMatchObject({ split: null, rows: 240, passed: true });
  await expect(ran({ ...limits(better('accuracy')), split: false }, { other: 'weak' })).rejects.toThrow(
    '`split: false`, but the data have a column `split`',
  );
});

test('better_than: the worse model, an equal one, and an undefined metric do not pass', async () => {
  await expect(ran(limits(better('log_loss')), { model: 'weak', other: 'good' })).rejects.toThrow(
    /^the requirement is missed: the model is not better than good: log_loss is 0\.\d+ and was 0\.\d+, difference 0\.\d+ \[0\.\d+, 0\.\d+\], p 0\.00\d+ \(paired bootstrap, at most 0\.05\); the model is worse$/,
  );
  await expect(ran(limits({ ...better('f1'), accuracy: '> 0.99' }), { other: 'good', metrics: ['metrics.json'] })).rejects.toThrow(
    /^2 of 2 requirements are missed: accuracy .* missed by 0\.03; .* f1 is 1 and was 1, difference 0, p 1 .* both are equal$/,
  );
  await expect(ran(limits(better('f1', { label: 'text' })), { other: 'weak' })).rejects.toThrow(/^neither model knows the label \S+ \S+, /);
  await expect(ran({ ...limits(better('f1')), split: 'tset' }, { other: 'weak' })).rejects.toMatchObject({ option: ['split'] });
  const chance = await ran(limits(better('accuracy', { p: 1e-300 })), { other: 'weak' }).catch((error: Error) => error.message);
  expect(chance).toMatch(/; the difference may be due to chance$/);
});

test('names: those of two files need the name of a step; an unknown one says where to add it', async () => {
  const both = ['metrics.json', `${out}/evaluate/metrics`];
  const passed = await ran({ limits: { 'evaluate.f1': '== 1', 'metrics.f1': '== 0.93', 'gap.source': '< 0.1' } }, { metrics: both });
  expect(JSON.parse(p.read(passed.outputs.verdict!)).requirements.map(({ from }: { from: string }) => from)).toEqual([
    'evaluate',
    'metrics.json',
    'metrics.json',
  ]);
  await expect(ran({ limits: { f1: '>= 0.5' } }, { metrics: both })).rejects.toMatchObject({
    message: '2 files of `metrics` have f1: metrics.json, evaluate',
    hint: 'Write which one is meant: "metrics.json.f1" or "evaluate.f1".',
  });
  await expect(ran({ limits: { 'gap.sorce': '<= 0.1' } }, { metrics: ['metrics.json'] })).rejects.toMatchObject({
    message: 'gap.sorce was not computed: no file of `metrics` has it',
    hint: expect.stringContaining('Did you mean gap.source? metrics.json has f1, accuracy, roc_auc, gap.source, f1.lower, f1.upper.'),
    option: ['limits', 'gap.sorce'],
  });
  p.write('nan.json', '{"metrics": {"f1": NaN}}');
  await expect(ran({ limits: { f1: '>= 0.5' } }, { metrics: ['nan.json'] })).rejects.toThrow(/nan\.json is not a metrics file: .*NaN/);
});

test('the history of a training: the generalization gap at the step whose weights the model has', async () => {
  const history = `${out}/good/history`;
  const lines = p
    .read(history)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { kept_step } = JSON.parse(p.read(`${out}/good/model/training.json`));
  const kept = lines.find((line) => line.step === kept_step && line.generalization_gap !== undefined);
  const passed = await ran(limits({ generalization_gap: '<= 10', validation_loss: '<= 10' }), { metrics: [history] });
  const { requirements } = JSON.parse(p.read(passed.outputs.verdict!));
  expect(requirements.map(({ value }: { value: number }) => value)).toEqual([kept.generalization_gap, kept.validation_loss]);
  await expect(ran(limits({ generalization_gap: '<= -10' }), { metrics: [history] })).rejects.toThrow(
    /generalization_gap .* must be <= -10: missed by/,
  );
  await expect(ran(limits({ generalization_gap: '<= 1' }), { metrics: ['metrics.json'] })).rejects.toMatchObject({
    hint: expect.stringContaining('the `history` of the train step'),
  });
  p.write('other.jsonl', '{"step": 1, "epoch": 1, "train_loss": 1, "padding": 0}\n{"step": 2, "epoch": 2, "loss": 1}\n');
  await expect(ran(limits({ train_loss: '<= 1' }), { metrics: ['other.jsonl'] })).rejects.toThrow(
    `other.jsonl has no evaluation at step ${kept_step}, at which the weights of the model were saved`,
  );
});

/** Steps with the names of figures. */
const NAMED = `  fairness:
    uses: evaluate
    with:
      model: "\${{ steps.good.model }}"
      tokens: "\${{ steps.tokenize.tokens }}"
      metrics: [f1, accuracy]
      intervals: false
      slices: { text: { column: label } }
      fairness: { group: label }
      compare: { predictions: "\${{ steps.evaluate.predictions }}" }
  majority: { uses: baseline, with: { data: "\${{ steps.split.data }}" } }
`;

test('what cannot succeed is refused when the pipeline is read, at its position', async () => {
  const refused = async (steps: Record<string, string>) => {
    const own = Object.entries(steps).map(([name, given]) => `  ${name}: { uses: require, with: ${given} }\n`);
    p.write('invalid.yaml', `${MAKE}${NAMED}${own.join('')}`);
    const { code, screen } = await p.run('validate', 'invalid.yaml');
    expect(code).toBe(2);
    return screen;
  };
  const screen = await refused({
    unknown: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { acuracy: ">= 0.9" } }',
    absent: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { evaluate.mcc: ">= 0.9" } }',
    slice: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { gap.source: "<= 0.1" } }',
    method: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.baseline.metrics }}", limits: { majority.f2: "<= 0.9" } }',
    rows: '{ model: "${{ steps.good.model }}", limits: { better_than: { model: "${{ steps.weak.model }}", metric: accuracy } } }',
    metric:
      '{ model: "${{ steps.good.model }}", data: "${{ steps.split.data }}", limits: { better_than: { model: "${{ steps.weak.model }}", metric: bleu } } }',
    idle: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", data: "${{ steps.split.data }}", limits: { f1: ">= 0.9" } }',
    difference: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { difference.f1: ">= 0" } }',
    compared: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.fairness.metrics }}", limits: { difference.mcc.p: "<= 0.05" } }',
    end: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.fairness.metrics }}", limits: { gap.text.upper: "<= 0.05" } }',
    figure:
      '{ model: "${{ steps.good.model }}", metrics: "${{ steps.fairness.metrics }}", limits: { fairness.demographic_parity: "<= 0.1" } }',
    // Valid: the steps are called as figures are.
    named:
      '{ model: "${{ steps.good.model }}", metrics: ["${{ steps.fairness.metrics }}", "${{ steps.majority.metrics }}"], limits: { fairness.demographic_parity_difference: "<= 0.1", fairness.accuracy: ">= 0.9", majority.f1: "<= 0.9", majority.majority.f1: "<= 0.9", difference.f1: ">= 0", difference.f1.lower: ">= 0", difference.f1.p: "<= 0.05" } }',
    // Valid: a file may have any metric, and both steps together have these.
    mixed: '{ model: "${{ steps.good.model }}", metrics: ["${{ steps.evaluate.metrics }}", "*.json"], limits: { acuracy: ">= 0.9" } }',
    valid:
      '{ model: "${{ steps.good.model }}", metrics: ["${{ steps.evaluate.metrics }}", "${{ steps.baseline.metrics }}"], limits: { f1: ">= 0.9", f1.lower: ">= 0.8", majority.accuracy: "<= 0.9", classes.spam.recall: ">= 0.1" } }',
  });
  for (const part of [
    'evaluate does not report acuracy: it reports f1, accuracy',
    'Did you mean accuracy?',
    'evaluate does not report mcc: it reports f1, accuracy',
    'Add it to `metrics` of evaluate.',
    'evaluate does not report gap.source',
    'Add `source` to `slices` of evaluate.',
    'baseline does not report majority.f2',
    'Did you mean majority.f1?',
    'evaluate does not report difference.f1',
    'Set `compare` of evaluate.',
    'fairness does not report difference.mcc.p: it compares f1, accuracy',
    'Add it to `metrics` of fairness.',
    'fairness does not report gap.text.upper: `intervals` is false',
    'fairness does not report fairness.demographic_parity',
    'Did you mean fairness.demographic_parity_ratio?',
    '`better_than` needs the input `data`',
    'text-classification has no metric bleu',
    '`data` has no effect without `better_than` in `limits`',
  ])
    expect(screen).toContain(part);
  expect(screen.match(/: error:/g)).toHaveLength(11);
  // The dot in a name does not hide its position.
  expect(screen).toMatch(/limits: \{ gap\.source: "<= 0\.1" \} \} \}\n.*\| +\^{8}\n/);
  const schema = await refused({
    limit: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { f1: "=> 0.9" } }',
    number: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { f1: 0.9 } }',
    nothing: '{ model: "${{ steps.good.model }}" }',
    model: '{ model: "${{ steps.good.model }}", data: "${{ steps.split.data }}", limits: { better_than: { metric: accuracy } } }',
    outside:
      '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", limits: { f1: ">= 0.9" }, better_than: { metric: f1 } }',
    bare: '{ model: "${{ steps.good.model }}", metrics: "${{ steps.evaluate.metrics }}", f1: ">= 0.9" }',
  });
  const takes = 'takes an operator (>=, >, <=, < or ==) and a number in quotation marks, such as ">= 0.95"';
  expect(schema).toContain(`"limits.f1" ${takes}, found "=> 0.9"`);
  expect(schema).toContain(`"limits.f1" ${takes}, found 0.9`);
  expect(schema).toContain('missing option "limits" of require');
  expect(schema).toContain('missing input "limits.better_than.model"');
  expect(schema).toContain('did you mean `limits: { better_than: … }`?');
  expect(schema).toContain('did you mean `limits: { f1: … }`?');
});
