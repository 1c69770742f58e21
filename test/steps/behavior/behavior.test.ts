import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { modelProblems } from '../../../steps/behavior/model-checks.ts';
import { thresholdOf } from '../../../steps/behavior/options.ts';
import step from '../../../steps/behavior/step.ts';
import { answerAll } from '../../../steps/ml/answering/answer-all.ts';
import { openBundle } from '../../../steps/ml/answering/bundle.ts';
import { excerpts } from '../../../steps/ml/data/excerpt.ts';
import { wilsonInterval } from '../../../steps/ml/metrics/proportions.ts';
import type { ModelStart } from '../../../steps/ml/models/model-folder.ts';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { preview } from '../../../steps/preview/preview.ts';
import { predict } from '../../../steps/serving/predict.ts';
import { project } from '../../rig.ts';
import { allRows } from '../../table.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { modelOf, rows, wordsOf } from '../small.ts';

const VOCABULARY =
  'i love hate this lamp chair film it is not good bad awful lovely fine terrible service the day was a who wrote ada bob in paris';

/** A model with random weights, which are large, so that its answers differ. */
async function randomModel(start: Partial<ModelStart> = {}, training: object = {}): Promise<string> {
  const folder = modelOf(wordsOf(VOCABULARY), {
    hidden_size: 16,
    num_hidden_layers: 1,
    intermediate_size: 32,
    max_position_embeddings: 64,
    initializer_range: 0.6,
  });
  const model = await startModel(folder, { task: 'text-classification', labels: ['bad', 'good'], seed: 4, say: () => {}, ...start });
  await saveModel(folder, model);
  writeFileSync(join(folder, 'training.json'), JSON.stringify({ max_length: 48, fields: { text: 'text' }, ...training }));
  return folder;
}

async function tested(options: object, inputs: Record<string, string>) {
  const ran = await ranStep(step, options, inputs);
  const report = JSON.parse(readFileSync(ran.outputs.report!, 'utf8'));
  return { ...ran, report, cases: await allRows(ran.outputs.cases!) };
}

/** What the command prints. */
async function predictions(model: string, inputs: object[]): Promise<any[]> {
  const file = join(temporary(), 'in.jsonl');
  writeFileSync(file, inputs.map((input) => `${JSON.stringify(input)}\n`).join(''));
  const output = new PassThrough();
  const printed = text(output);
  await predict(model, file, {}, output);
  output.end();
  return (await printed)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** The answers without the threads of the command. */
async function answersTo(model: string, inputs: Record<string, string>[]): Promise<any[]> {
  const options = { threads: 1, signal: new AbortController().signal };
  for await (const answers of answerAll(await openBundle(model), [inputs], options)) return answers;
  return [];
}

const LEXICONS = { feeling: ['love', 'hate'], thing: ['lamp', 'chair', 'film'] };

test('the three kinds of tests: cases, answers as of predict, and figures that agree', async () => {
  const model = await randomModel();
  const data = await table(rows({ train: 10, test: 30 }));
  const { report, cases, metrics, result } = await tested(
    {
      lexicons: LEXICONS,
      tests: {
        opinions: { template: 'I {feeling} this {thing}.', expect: 'good' },
        typos: { change: 'typos', rows: 12 },
        worse: { add: ['Terrible service.', 'The {thing} is bad.'], score: { label: 'bad', change: 'up', tolerance: 0.01 }, rows: 10 },
      },
    },
    { model, data },
  );
  const of = (name: string) => cases.filter((one) => one.test === name);
  expect([of('opinions').length, of('typos').length]).toEqual([6, 12]);
  expect(of('worse').length + (report.tests.worse.undecided ?? 0)).toBe(20);
  expect(of('opinions').map(({ before }) => before)).toContain('I hate this film.');

  const answers = await predictions(
    model,
    [...cases.map((one) => one.before), ...cases.map((one) => one.after ?? '')].map((text) => ({ text })),
  );
  const [before, after] = [answers.slice(0, cases.length), answers.slice(cases.length)];
  for (const [i, one] of cases.entries()) {
    expect(one.answer).toBe(before[i].label);
    if (one.test === 'opinions') {
      expect(one.failed).toBe(one.answer !== 'good');
      expect([one.expected, one.after, one.row]).toEqual(['good', null, null]);
      expect(one.score).toBeCloseTo(before[i].scores.good, 6);
    } else {
      expect(one.answer_after).toBe(after[i].label);
      expect(one.row).toMatch(/^test-/);
      const label = one.test === 'worse' ? 'bad' : one.answer;
      expect(one.score).toBeCloseTo(before[i].scores[label], 6);
      expect(one.score_after).toBeCloseTo(after[i].scores[label], 6);
      expect(one.failed).toBe(one.test === 'typos' ? one.answer !== one.answer_after : one.score_after - one.score + 0.01 < 0);
    }
  }
  for (const [name, one] of Object.entries<any>(report.tests)) {
    const failed = of(name).filter(({ failed }) => failed);
    expect(one).toMatchObject({ cases: of(name).length, failures: failed.length, failure_rate: failed.length / of(name).length });
    expect(metrics[`failures.${name}`]).toBe(one.failure_rate);
    expect(report.metrics[`failures.${name}`]).toBe(one.failure_rate);
    expect(report.intervals[`failures.${name}`]).toEqual(wilsonInterval({ hits: one.failures, rows: one.cases }, 0.95));
    expect(one.interval).toEqual(report.intervals[`failures.${name}`]);
    expect(one.examples.map(({ before }: any) => before).sort()).toEqual(
      failed
        .map(({ before }) => before)
        .sort()
        .slice(0, 20),
    );
  }
  expect(report.kinds.invariance).toMatchObject({ tests: 1, cases: 12 });
  expect(result).toMatch(/^\d+ of \d+ cases failed, in \d of 3 tests$/);
});

test('a percentage is the share that it looks like: 7 of 1,000 are no more than 0.7%', () => {
  expect(['<= 0.7%', '0.29%', '5%', '< 57%'].map((given) => thresholdOf(given)!.limit)).toEqual([0.007, 0.0029, 0.05, 0.57]);
});

test('in a matrix, the default split is validation', () => {
  expect(step.options!.split!.defaultInMatrix).toBe('validation');
});

test('a column whose values have thresholds of their own may be called like a column of the cases', async () => {
  for (const group of ['Kind', 'before', 'constructor']) {
    const model = await randomModel();
    const rest = { temperature: 1, fitted_on: 'validation', rows: 9, ece: { before: 0, after: 0 }, thresholds: { good: 0.5 } };
    writeFileSync(join(model, 'calibration.json'), JSON.stringify({ ...rest, group, group_thresholds: { web: { good: 0.9 } } }));
    const data = await table([{ id: 'a', text: 'I love it', split: 'test', [group]: 'web' }]);
    const { cases } = await tested({ tests: { t: { change: { case: 'lower' } } } }, { model, data });
    const column = group === 'constructor' ? group : `input_${group}`;
    expect(cases).toMatchObject([{ kind: 'invariance', before: 'I love it', after: 'i love it', [column]: 'web' }]);
  }
});

test('the same seed gives the same cases, and another one others', async () => {
  const inputs = { model: await randomModel(), data: await table(rows({ test: 40 })) };
  const of = async (seed: number) => (await tested({ seed, tests: { t: { change: 'typos', rows: 5 } } }, inputs)).cases;
  const first = await of(1);
  expect(await of(1)).toEqual(first);
  expect((await of(2)).map(({ after }) => after)).not.toEqual(first.map(({ after }) => after));
});

test('a test without a case is n/a with the reason, never 0, and the threshold of all tests does not fail because of it', async () => {
  const inputs = { model: await randomModel(), data: await table(rows({ test: 5 })) };
  const { report, warnings, metrics } = await tested(
    {
      max_failures: 0,
      lexicons: { ...LEXICONS, thing: ['violin', 'drum'], idle: ['x'], city: ['Rome', 'Bonn'], last_name: ['Bo', 'Li'] },
      tests: {
        names: { change: 'names' },
        places: { change: { locations: 'city' } },
        things: { change: { lexicon: 'thing' } },
        certain: { add: 'x', score: { label: 'good', change: 'up', tolerance: 1 } },
      },
    },
    inputs,
  );
  expect(report.metrics).toEqual({ 'failures.names': null, 'failures.places': null, 'failures.things': null, 'failures.certain': null });
  expect(metrics).toEqual({});
  expect(report.undefined).toEqual({
    'failures.names': 'the change does not alter any of the 5 texts',
    'failures.places': 'the change does not alter any of the 5 texts',
    'failures.things': 'no word of the lexicon `thing` occurs in any of the 5 texts',
    'failures.certain': 'the score of `good` is at its limit in all cases, so that none can fail',
  });
  expect(report.tests.names).toMatchObject({ cases: 0, failure_rate: null, passed: null, texts: 5, unchanged: 5 });
  expect(warnings).toEqual([
    'names: n/a, because the change does not alter any of the 5 texts',
    'places: n/a, because the change does not alter any of the 5 texts',
    'things: n/a, because no word of the lexicon `thing` occurs in any of the 5 texts',
    'certain: n/a, because the score of `good` is at its limit in all cases, so that none can fail',
    'no test uses the lexicon `feeling`',
    'no test uses the lexicon `idle`',
  ]);
});

test('the step fails with every test that has too many failures, by how much, and an example', async () => {
  const model = await randomModel();
  const texts = ['i love it', 'i hate it', 'the film is bad', 'a lovely day'];
  const labels = (
    await answersTo(
      model,
      texts.map((text) => ({ text })),
    )
  ).map(({ label }) => label as string);
  const wrong = texts.map((text, i) => ({ text, expect: labels[i] === 'bad' ? 'good' : 'bad' }));
  const right = texts.map((text, i) => ({ text, expect: labels[i] }));
  const failing = tested(
    {
      max_failures: '<= 25%',
      tests: {
        a: { cases: wrong },
        b: { cases: right },
        c: { cases: wrong, max_failures: 3 },
        d: { cases: wrong, max_failures: 4 },
        e: { cases: ['it is fine'], change: 'names', max_failures: 1 },
      },
    },
    { model },
  );
  const error = await failing.catch((error) => error);
  expect(error.name).toBe('StepError');
  expect(error.message).toMatch(/^3 of 5 tests miss their `max_failures`:\n/);
  expect(error.message).toContain('  a: 4 of 4 cases failed (100.0%); allowed: <= 25% (75.0 percentage points too many)\n    "');
  expect(error.message).toContain('  c: 4 of 4 cases failed (100.0%); allowed: <= 3 (1 too many)\n    "');
  expect(error.message).not.toContain('\n  d:');
  expect(error.message).toContain('  e: n/a, because the change does not alter the only text; allowed: <= 1');
  expect(error.option).toEqual(['tests', 'a']);
  expect(error.hint).toContain('.tunesmith/failed/behavior/');
});

test('any number of labels, numbers, and pairs', async () => {
  const labels = ['x', 'y', 'z'];
  const multi = await randomModel({ problem: 'multi_label_classification', labels });
  const [own] = await answersTo(multi, [{ text: 'i love it' }]);
  const sets = await tested(
    {
      tests: {
        exact: {
          cases: [
            { text: 'i love it', expect: own.labels },
            { text: 'i love it', expect: labels.filter((label) => !own.labels.includes(label)) },
          ],
        },
        one: { cases: ['i love it'], expect: own.labels[0] ?? 'x' },
        case: { change: 'case', cases: ['I love it'] },
      },
    },
    { model: multi },
  );
  expect(sets.cases.filter(({ test }) => test === 'exact').map(({ failed }) => failed)).toEqual([false, true]);
  expect(sets.report.tests.case).toMatchObject({ cases: 2, failures: 0 });

  const numbers = await randomModel({ problem: 'regression', labels: ['score'] });
  const [{ score }] = await answersTo(numbers, [{ text: 'i love it' }]);
  const measured = await tested(
    {
      tests: {
        near: { cases: ['i love it'], expect: score, tolerance: 1e-4 },
        far: { cases: ['i love it'], expect: score + 1, tolerance: 0.5 },
        above: { cases: ['i love it'], expect: `> ${(score + 1).toFixed(4)}` },
        stays: { cases: ['i love it'], change: { replace: [['love', 'hate']] }, tolerance: 1000 },
        moves: { cases: ['i love it'], add: 'bad', score: { change: 'up' } },
      },
    },
    { model: numbers },
  );
  expect(
    Object.entries<any>(measured.report.tests)
      .slice(0, 4)
      .map(([, { failures }]) => failures),
  ).toEqual([0, 1, 1, 0]);
  expect(measured.report.tests.moves.cases).toBe(1);

  const pairs = await randomModel({}, { pairs: true, truncation: 'longest_first', fields: { text: 'one', text_pair: 'other' } });
  const data = await table(rows({ test: 6 }).map(({ id, text, split }) => ({ id, one: text, other: 'the film was fine', split })));
  const paired = await tested({ tests: { t: { change: { replace: [['film', 'lamp']] }, field: 'text_pair' } } }, { model: pairs, data });
  expect(paired.cases).toHaveLength(6);
  expect(paired.cases[0]).toMatchObject({ before: 'the film was fine', after: 'the lamp was fine' });
  expect(paired.cases[0].text).toMatch(/\w/);
  const byColumn = await tested({ tests: { t: { change: { replace: [['film', 'lamp']] }, field: 'other' } } }, { model: pairs, data });
  expect(byColumn.cases).toEqual(paired.cases);
});

test('question-answering and token-classification: minimum functionality, with the slots of the template in `expect`', async () => {
  const qa = await randomModel(
    { task: 'question-answering', labels: [] },
    { fields: { question: 'question', context: 'context' }, stride: 8 },
  );
  const context = 'ada wrote this in paris';
  const [{ answer }] = await answersTo(qa, [{ question: 'who wrote this', context }]);
  const asked = await tested(
    {
      lexicons: { name: ['ada', 'bob'] },
      tests: {
        given: {
          cases: [
            { question: 'who wrote this', context, expect: answer },
            { question: 'who wrote this', context, expect: 'somebody else' },
          ],
        },
        names: { template: { question: 'who wrote this', context: '{name} wrote this' }, expect: '{name}' },
        typos: { cases: [{ question: 'who wrote this', context }], change: 'typos' },
      },
    },
    { model: qa },
  );
  expect(asked.cases.filter(({ test }) => test === 'given').map(({ failed }) => failed)).toEqual([false, true]);
  expect(asked.cases.filter(({ test }) => test === 'names').map(({ expected, context }) => [expected, context])).toEqual([
    ['ada', 'ada wrote this'],
    ['bob', 'bob wrote this'],
  ]);
  expect(asked.cases.find(({ test }) => test === 'typos')).toMatchObject({ before: 'who wrote this', context });

  const tagger = await randomModel({ task: 'token-classification', labels: ['B-PER', 'O'] });
  const [{ entities }] = await answersTo(tagger, [{ text: 'ada wrote this' }]);
  const found: Record<string, string[]> = {};
  for (const { entity, text } of entities) found[entity] = [...(found[entity] ?? []), text];
  const tagged = await tested(
    {
      tests: {
        entities: {
          cases: [
            { text: 'ada wrote this', expect: found },
            { text: 'ada wrote this', expect: { PER: 'nobody' } },
          ],
        },
        tags: { cases: ['ada wrote this'], expect: ['O', 'O', 'O'] },
      },
    },
    { model: tagger },
  );
  expect(tagged.cases.map(({ failed }) => failed)).toEqual([false, true, entities.length > 0]);
  expect(tagged.cases[2].answer.split(' ')).toHaveLength(3);
});

test('what does not fit the model is refused with the option', () => {
  const classifier = {
    task: 'text-classification',
    problem: 'single_label_classification',
    labels: ['bad', 'good'],
    pairs: false,
  } as const;
  const first = (test: object, model: object = {}) => {
    const [problem] = modelProblems({ t: test }, { ...classifier, ...model } as unknown as Parameters<typeof modelProblems>[1]);
    return problem && `${problem.option}: ${problem.message}`;
  };
  expect(first({ cases: ['a'], expect: 'god' })).toBe('tests.t.expect: the model has no label "god"');
  expect(first({ cases: ['a'], expect: 'god' }, { labels: undefined })).toBeUndefined();
  expect(first({ add: 'x', score: { label: 'god', change: 'up' } })).toBe('tests.t.score.label: the model has no label "god"');
  expect(first({ add: 'x', score: { change: 'up' } })).toMatch(/^tests\.t\.score: `score` needs `label`/);
  expect(first({ cases: [{ title: 'a', expect: 'good' }] })).toBe('tests.t.cases.0.title: this model has no field `title`');
  expect(first({ cases: ['a'], expect: 'good' }, { pairs: true })).toBe('tests.t.cases.0: the field `text_pair` is missing');
  expect(first({ cases: ['a'], expect: 'good' }, { group: 'source' })).toBe('tests.t.cases.0: the field `source` is missing');
  expect(first({ cases: [{ text: 'a', source: 'b', expect: 'good' }] }, { group: 'source' })).toBeUndefined();
  expect(first({ change: 'typos' }, { task: 'token-classification' })).toMatch(/^tests\.t: there is no invariance test/);
  expect(first({ add: 'x', score: { change: 'up' } }, { task: 'question-answering' })).toMatch(/^tests\.t\.score: a direction test needs/);
  expect(first({ change: 'typos', field: 'context' }, { task: 'question-answering' })).toMatch(/^tests\.t\.field: `field: context` is not/);
  expect(first({ change: 'typos' }, { problem: 'regression' })).toMatch(/^tests\.t: an invariance test of a regression needs/);
  expect(first({ cases: ['a'], expect: 3 }, { problem: 'regression' })).toBe('tests.t.expect: an expected number needs `tolerance`');
  expect(first({ change: 'typos' }, { task: 'masked-lm' })).toBe('model: behavior cannot test a model for masked-lm');
});

test('data without the column, without the split, and a label that only a filled template has', async () => {
  const model = await randomModel();
  const run = (options: object, data?: string) =>
    tested(options, { model, ...(data !== undefined && { data }) }).catch((error) => `${error.option}: ${error.message}`);
  const change = { tests: { t: { change: 'case' } } };
  expect(await run(change, await table([{ id: 'a', body: 'x', split: 'test' }]))).toBe('data: the data have no column `text`');
  expect(await run(change, await table(rows({ train: 3 })))).toBe('split: the data have no split "test"');
  expect(await run({ ...change, split: 'dev' }, await table([{ id: 'a', text: 'x' }]))).toBe('split: the data have no column `split`');
  expect(await run({ ...change, split: false }, await table(rows({ test: 3 })))).toBe(
    'split: `split: false`, but the data have a column `split`',
  );
  expect((await tested({ ...change, split: false }, { model, data: await table([{ id: 'a', text: 'X y' }]) })).cases).toHaveLength(2);
  expect(await run(change)).toBe('tests,t: this test has no texts to change');
  expect(await run({ lexicons: { l: ['good', 'odd'] }, tests: { t: { template: 'it is {l}', expect: '{l}' } } })).toBe(
    'tests,t,expect: the model has no label "odd"',
  );
});

test('`show` prints a table of the tests and the worst cases', async () => {
  const { outputs } = await tested(
    {
      tests: {
        a: { cases: ['i love it'], expect: 'good' },
        b: { cases: ['i love it'], expect: 'bad' },
        n: { cases: ['x'], change: 'names' },
      },
    },
    { model: await randomModel() },
  );
  const [tests, , failures] = await preview(outputs.report!, 10);
  expect(tests).toMatchObject({ title: 'behaviour tests, 3', table: { header: ['test', 'kind', 'cases', 'failures', 'rate', 'allowed'] } });
  expect(tests!.table!.rows.map((row) => row[0])).toEqual(['a', 'b', 'n']);
  expect(tests!.table!.rows[2]).toEqual(['n', 'invariance', '0', '0', 'n/a', '']);
  expect(failures!.title).toBe('worst failures, 1 of 1');
});

test('the command reports the position of unknown slots and labels before anything runs', async () => {
  const pipeline = (slot: string) => `steps:
  behavior:
    uses: behavior
    with:
      model: ./model
      tests:
        praise: { template: "I {${slot}} it.", expect: good }
        labels: { cases: [x], expect: goood }
      lexicons: { feeling: [love] }
`;
  const config = { architectures: ['BertForSequenceClassification'], id2label: { 0: 'bad', 1: 'good' } };
  const p = project({ 'slot.yaml': pipeline('feling'), 'label.yaml': pipeline('feeling'), 'model/config.json': JSON.stringify(config) });
  const [slot, label] = await Promise.all([p.run('validate', 'slot.yaml'), p.run('validate', 'label.yaml')]);
  expect([slot.code, label.code], slot.screen).toEqual([2, 2]);
  expect(slot.screen).toContain('slot.yaml:7:29: error: the slot {feling}, at character 3 of the template, has no lexicon `feling`');
  expect(slot.screen).toContain('Did you mean {feeling}?');
  expect(label.screen).toContain('label.yaml:8:39: error: the model has no label "goood"');
  expect(label.screen).toContain('Did you mean good?');
});

test('an excerpt shows where two texts differ', () => {
  const long = 'word '.repeat(50);
  expect(excerpts('a b', 'a c', 20)).toEqual(['a b', 'a c']);
  const [before, after] = excerpts(`${long}kettle ${long}`, `${long}lamp ${long}`, 30);
  expect(before).toMatch(/^….{5,12}kettle.{10,20}…$/);
  expect(after).toMatch(/^….{5,12}lamp.{10,20}…$/);
  const [face] = excerpts(`${'x'.repeat(20)}${'😀'.repeat(40)}`, `${'x'.repeat(20)}${'😃'.repeat(40)}`, 31);
  expect(face.isWellFormed()).toBe(true);
});
