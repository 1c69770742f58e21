/** Every task through the whole pipeline, from rows to a bundle that answers. */
import { mkdirSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { CITIES, entities, every, linesOf, type Options, questions, SMALL, steps } from '../../contract/task-steps.ts';
import { sharedProject } from '../../rig.ts';
import { modelOf, wordsOf } from '../../steps/small.ts';
import { allRows } from '../../table.ts';

const moods = every(160, (_, __, i) => ({
  text: `the day was ${i % 2 ? 'bad' : 'long'} ${i % 3 ? 'and wet' : 'and good'} ${i}`,
  moods: [...(i % 2 ? ['sad'] : []), ...(i % 3 ? [] : ['happy'])],
  sad: i % 2,
  happy: i % 3 === 0,
  score: i % 2 ? 1.5 : -0.5,
}));

const pairs = every(200, (_, city, i) => {
  const other = Math.floor(i / 4) % 2 ? city : CITIES[(CITIES.indexOf(city) + 1 + (i % 3)) % 4]!;
  return { premise: `I live in ${city}`, hypothesis: `my home is ${other}`, label: other === city ? 'same' : 'different' };
});

const FAST = 'batch_size: 8, learning_rate: 0.01';

const TASKS: Record<string, Options & { rows: object[]; size?: object }> = {
  entities: { rows: entities, tokenize: 'task: token-classification', train: `${FAST}, epochs: 6` },
  questions: { rows: questions, tokenize: 'task: question-answering, stride: 4', train: `${FAST}, epochs: 12` },
  pairs: {
    rows: pairs,
    tokenize: 'text: premise, text_pair: hypothesis',
    train: 'batch_size: 16, learning_rate: 0.002, epochs: 25',
    size: {},
  },
  lists: { rows: moods, tokenize: 'label: moods, problem_type: multi_label_classification', train: `${FAST}, epochs: 8` },
  columns: { rows: moods, tokenize: 'label: [happy, sad], problem_type: multi_label_classification', train: `${FAST}, epochs: 8` },
  regression: { rows: moods, tokenize: 'label: score, problem_type: regression', train: `${FAST}, epochs: 10` },
  masked: { rows: moods, tokenize: 'task: masked-lm', train: `${FAST}, epochs: 8` },
};

const p = sharedProject();
let cells: Record<string, string> = {};

/** One run for all tasks, whose steps share their processes. */
beforeAll(async () => {
  let yaml = 'steps:';
  for (const [name, { rows, size = SMALL, ...options }] of Object.entries(TASKS)) {
    const lines = linesOf(rows);
    p.write(`${name}.jsonl`, lines);
    mkdirSync(p.path(`${name}-model`));
    modelOf(wordsOf(lines), size, p.path(`${name}-model`));
    yaml += steps(name, `${name}-model`, options);
  }
  p.write('p.yaml', yaml);
  ({ cells } = await p.states('p.yaml', '--on-failure', 'continue'));
});

/** The metrics and predictions of the test split, and the bundle's answers. */
async function trained(name: string, inputs: object[]) {
  for (const step of ['collect', 'split', 'tokenize', 'train', 'test', 'deploy'])
    expect(cells).toMatchObject({ [`${step}-${name}`]: 'ran' });
  const outputs = '.tunesmith/outputs/p';
  p.write('in.jsonl', linesOf(inputs));
  const answersOf = async (folder: string) => {
    const { stdout, screen } = await p.run('predict', folder, 'in.jsonl');
    expect(stdout, screen).not.toBe('');
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  };
  const bundle = `${outputs}/deploy-${name}/bundle`;
  const answers = await answersOf(bundle);
  expect(answers).toHaveLength(inputs.length);
  // A model folder answers as its bundle does.
  expect(await answersOf(`${outputs}/train-${name}/model`)).toEqual(answers);
  return {
    bundle,
    metrics: JSON.parse(p.read(`${outputs}/test-${name}/metrics`)).metrics,
    predictions: await allRows(p.path(`${outputs}/test-${name}/predictions`)),
    answers,
    config: JSON.parse(p.read(`${bundle}/config.json`)),
  };
}

test('token-classification: entities with their positions', async () => {
  const text = 'In Oslo lived Dora 😀 and anna smith went to rome.';
  const { metrics, predictions, answers, config } = await trained('entities', [{ text }]);
  expect(metrics.f1).toBeGreaterThan(0.95);
  expect(config.architectures).toEqual(['BertForTokenClassification']);
  expect(config.id2label).toEqual({ 0: 'B-LOC', 1: 'B-PER', 2: 'I-PER', 3: 'O' });
  for (const { words, label, tokens, tags } of predictions) expect([words, label]).toEqual([tokens, tags]);
  for (const { entity, start, end, score, text: piece } of answers[0].entities) {
    expect(['PER', 'LOC']).toContain(entity);
    expect(text.slice(start, end)).toBe(piece);
    expect(score).toBeGreaterThan(0);
  }
  expect(answers[0].entities.map((one: { text: string }) => one.text)).toContain('rome');
});

test('question-answering: a span of the context, or none', async () => {
  const context = '😀 emil lived in rome .';
  const { metrics, predictions, answers, config } = await trained('questions', [
    { question: 'where', context },
    { question: 'why', context },
  ]);
  expect(metrics.exact_match).toBeGreaterThan(0.8);
  for (const { label, answers: given, correct, exact_match } of predictions)
    expect([label, correct]).toEqual([given.text, exact_match === 1]);
  expect(config.architectures).toEqual(['BertForQuestionAnswering']);
  expect(answers[0]).toMatchObject({ answer: 'rome', start: context.indexOf('rome'), end: context.indexOf('rome') + 4 });
  expect(answers[1]).toMatchObject({ answer: '', start: 0, end: 0 });
});

test('pairs of texts', async () => {
  const { bundle, metrics, answers } = await trained('pairs', [
    { text: 'I live in oslo', text_pair: 'my home is oslo' },
    { text: 'I live in oslo', text_pair: 'my home is rome' },
  ]);
  expect(metrics.accuracy).toBeGreaterThan(0.9);
  expect(answers.map(({ label }) => label)).toEqual(['same', 'different']);

  const card = p.read(`${bundle}/README.md`);
  expect(card).toContain('classifies a pair of texts as `different` or `same`.');
  expect(card).toContain(`-d '{"inputs":{"text":"a text","text_pair":"another text"}}'`);
  expect(card).toContain('model({"text":"a text","text_pair":"another text"}, truncation=True, max_length=24)');

  // Half a pair also gets an answer, which has no meaning.
  p.write('half.jsonl', '{"text":"I live in oslo"}\n');
  const half = await p.run('predict', bundle, 'half.jsonl');
  expect(half.code).toBe(1);
  expect(half.screen).toBe(
    'error: half.jsonl:1: no field "hypothesis" and no "text_pair": it has text\n  Each line must be an object such as {"premise": "…", "hypothesis": "…"}.\n',
  );
});

test.each([
  ['a column of lists', 'lists'],
  ['columns of 0 and 1, and of false and true', 'columns'],
])('multiple labels: %s', async (_, name) => {
  const inputs = [{ text: 'the day was bad and good 1' }, { text: 'the day was long and wet 2' }];
  const { metrics, answers, config } = await trained(name, inputs);
  expect(metrics.accuracy).toBeGreaterThan(0.8);
  expect(config).toMatchObject({ problem_type: 'multi_label_classification', id2label: { 0: 'happy', 1: 'sad' } });
  expect(answers.map(({ labels }) => labels)).toEqual([['happy', 'sad'], []]);
  expect(answers[0].scores.happy).toBeGreaterThan(0.5);
});

test('regression', async () => {
  const inputs = [{ text: 'the day was bad and wet 1' }, { text: 'the day was long and wet 2' }];
  const { metrics, predictions, answers, config } = await trained('regression', inputs);
  expect(metrics.r2).toBeGreaterThan(0.9);
  for (const { label, score } of predictions) expect(label).toBe(score);
  expect(config).toMatchObject({ problem_type: 'regression', id2label: { 0: 'score' } });
  expect(Math.abs(answers[0].score - 1.5)).toBeLessThan(0.5);
  expect(Math.abs(answers[1].score + 0.5)).toBeLessThan(0.5);
});

test('the most confident mistakes of each task', async () => {
  for (const name of Object.keys(TASKS)) {
    const { code, stdout, screen } = await p.run('show', `test-${name}.predictions`, '--sort', 'loss', '--limit', '2');
    expect(code, screen).toBe(0);
    expect(stdout).toMatch(/: table, \d+ rows, by loss, highest first\n/);
  }
  const errorOf = async (...words: string[]) => (await p.run('show', ...words)).screen;
  expect(await errorOf('test-pairs.metrics', '--sort', 'loss')).toContain('--sort needs a table, and test-pairs.metrics is none');
  expect(await errorOf('test-pairs.predictions', '--sort', 'los')).toContain('the table has no column "los"\n  Did you mean "loss"?');
  expect(await errorOf('test-pairs.predictions', '--asc')).toContain('--asc needs --sort');
});

test('masked-lm: the masked word and its probability', async () => {
  const { metrics, answers, config } = await trained('masked', [{ text: 'the [MASK] was bad and [MASK] 1' }]);
  expect(metrics.perplexity).toBeLessThan(100);
  expect(config.architectures).toEqual(['BertForMaskedLM']);
  expect(answers[0].fill).toHaveLength(2);
  expect(answers[0].fill[0]).toEqual({ token: 'day', score: expect.any(Number) });
});
