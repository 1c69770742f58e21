/** A measurement of some examples is that of an evaluation that has only these examples, however often each occurs. */
import { expect, test } from 'vitest';
import { entityMetrics } from '../../../../steps/ml/metrics/entities.ts';
import { GENERATED, generatedMetrics } from '../../../../steps/ml/metrics/generated.ts';
import { PerExample } from '../../../../steps/ml/metrics/per-example.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import type { Split } from '../../../../steps/ml/models/token-dataset.ts';
import { reportedMetrics } from '../../../../steps/ml/tasks/metrics.ts';
import { taskKind } from '../../../../steps/ml/tasks/registry.ts';
import type { Measurement } from '../../../../steps/ml/tasks/task.ts';

const uniform = random('measurement');
const integer = (below: number) => Math.floor(uniform() * below);
const logits = (length: number) => Float32Array.from({ length }, () => 4 * uniform() - 2);
const COUNT = 120;

interface Case {
  labels: string[];
  task: Parameters<typeof taskKind>[0];
  problem?: 'regression' | 'multi_label_classification';
  /** The tokens' values of a sequence, by column. */
  values: () => Record<string, number[]>;
  /** What `read` returns for a sequence with these values. */
  result: (values: Record<string, number[]>) => unknown;
  example?: (values: Record<string, number[]>) => object;
}

const classes = (labels: string[]): Case => ({
  labels,
  task: 'text-classification',
  values: () => ({ labels: [integer(labels.length)] }),
  result: () => logits(labels.length),
});
const CASES: Record<string, Case> = {
  'two labels': classes(['bad', 'good']),
  'four labels': classes(['a', 'b', 'c', 'd']),
  'sets of labels': {
    ...classes(['a', 'b', 'c']),
    problem: 'multi_label_classification',
    values: () => ({ labels: [integer(2), integer(2), integer(2)] }),
  },
  numbers: { ...classes(['score']), problem: 'regression', values: () => ({ labels: [uniform() * 5] }) },
  tags: {
    labels: ['B-LOC', 'B-PER', 'I-PER', 'O'],
    task: 'token-classification',
    values: () => ({ labels: Array.from({ length: 2 + integer(6) }, () => (integer(5) === 0 ? -100 : integer(4))) }),
    result: ({ labels }) => logits(4 * labels!.length),
    example: ({ labels }) => (labels!.length % 2 ? { unread: [[0, 'B-LOC']] } : {}),
  },
  answers: {
    labels: [],
    task: 'question-answering',
    values: () => ({
      start_positions: [integer(6)],
      end_positions: [5],
      span_begins: [-1, -1, 0, 4, 8, 12],
      span_ends: [-1, -1, 3, 7, 11, 15],
    }),
    result: () => ({ starts: logits(6), ends: logits(6) }),
    example: () => ({ context: 'one two six ten', answers: integer(2) ? ['two'] : [] }),
  },
  'masked tokens': {
    labels: [],
    task: 'masked-lm',
    values: () => ({}),
    result: () => ({ loss: 3 * uniform(), hits: integer(4), tokens: 4 }),
  },
};

function measured({ task, problem, labels, values, result, example }: Case) {
  const sequences = Array.from({ length: COUNT }, () => values());
  const results = sequences.map(result);
  const examples = sequences.map((own, i) => ({ id: `${i}`, ...example?.(own) }));
  const split = {
    length: (sequence: number) => Object.values(sequences[sequence]!).at(-1)!.length,
    read: (column: string, sequence: number, into: Int32Array) => into.set(sequences[sequence]![column]!.slice(0, into.length)),
    values: (column: string, sequence: number) => sequences[sequence]![column],
  };
  const kind = problem ?? 'single_label_classification';
  const metrics = reportedMetrics(task, kind, labels).known.filter(
    (name) => labels.length === 2 || !['precision', 'recall', 'f1'].includes(name) || task !== 'text-classification',
  );
  const start = (): Measurement<any> =>
    taskKind(task).measure({
      labels,
      problem: kind,
      metrics,
      ...(labels.length === 2 && { positive: 1 }),
      split: split as unknown as Split,
      labelIds: Int32Array.from(labels, (_, k) => k),
    });
  const add = (to: Measurement<any>, rows: Iterable<number>) => {
    for (const row of rows) expect(Object.keys(to.add(examples[row]!, row, [results[row]])).sort()).toEqual(Object.keys(to.columns).sort());
  };
  return { start, add };
}

const everySecond = Int32Array.from({ length: COUNT / 2 }, (_, i) => 2 * i);
const resampled = Int32Array.from({ length: COUNT }, () => integer(COUNT));

test.each(Object.entries(CASES))('%s', (_, one) => {
  const { start, add } = measured(one);
  const whole = start();
  add(whole, Array(COUNT).keys());
  expect(Object.keys(whole.metrics()).length).toBeGreaterThan(1);
  for (const rows of [Int32Array.from({ length: COUNT }, (_, i) => i), everySecond, resampled, Int32Array.of(7)]) {
    const own = start();
    add(own, rows);
    const [found, expected] = [whole.metrics(rows), own.metrics()];
    expect(Object.keys(found)).toEqual(Object.keys(expected));
    for (const [name, value] of Object.entries(expected))
      if (Number.isNaN(value)) expect(found[name], name).toBeNaN();
      else expect(found[name], name).toBeCloseTo(value, 12);
  }
  // Nothing is left over from a subset.
  const again = start();
  add(again, Array(COUNT).keys());
  expect(whole.metrics()).toEqual(again.metrics());
});

test('an output that is not a number is an error', () => {
  const broken = Float32Array.of(Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN);
  for (const [name, one] of Object.entries(CASES)) {
    const result = () => (one.task === 'question-answering' ? { starts: broken, ends: broken } : broken);
    if (one.task !== 'masked-lm') {
      const { start, add } = measured({ ...one, values: () => ({ ...one.values(), ...(name === 'tags' && { labels: [3] }) }), result });
      expect(() => add(start(), [0]), name).toThrow('the model outputs scores that are not numbers');
    }
  }
  const outputs = {
    losses: { data: [Number.NaN], shape: [1] },
    predictions: { data: [3], shape: [1] },
    logits: { data: [Number.NaN], shape: [1, 1] },
  };
  const tensor = (data: number[], shape: number[]) => ({ dtype: 'int32' as const, data: Int32Array.from(data), shape });
  const inputs = { input_ids: tensor([1, 2], [1, 2]), label_positions: tensor([1], [1]), labels: tensor([0], [1]) };
  for (const task of ['causal-lm', 'seq2seq', 'masked-lm'] as const) {
    const { start } = measured({ ...CASES['masked tokens']!, task });
    expect(() => start().read(outputs, 0, 2, inputs), task).toThrow('the model outputs scores that are not numbers');
  }
});

test('generated texts', () => {
  const word = () => ['red', 'green', 'cat', 'boats', 'running', 'the', 'a.'][integer(7)]!;
  const text = () => Array.from({ length: 1 + integer(8) }, word).join(' ');
  const texts = Array.from({ length: 60 }, () => ({ references: [text()], predicted: integer(6) ? text() : 'the cat' }));
  const names = Object.keys(GENERATED);
  const whole = generatedMetrics(names);
  for (const one of texts) whole.add(one);
  for (const rows of [Int32Array.from({ length: 60 }, () => integer(60)), Int32Array.of(3)]) {
    const own = generatedMetrics(names);
    for (const row of rows) own.add(texts[row]!);
    for (const [name, value] of Object.entries(own.metrics())) expect(whole.metrics(rows)[name], name).toBeCloseTo(value, 9);
  }
  expect(whole.ofTexts).toEqual(names.filter((name) => !['bleu', 'exact_match'].includes(name)));
});

test('entities of a type that no chosen example has do not count', () => {
  const truth = [['B-A'], ['B-B']];
  expect(entityMetrics({ truth, predicted: truth }, ['macro_f1', 'f1'])).toEqual({ macro_f1: 1, f1: 1 });
  expect(entityMetrics({ truth: [['O']], predicted: [['O']] }, ['macro_f1', 'f1'])).toEqual({ macro_f1: Number.NaN, f1: Number.NaN });
});

test('numbers of each example grow without limit', () => {
  const numbers = new PerExample(3);
  for (let i = 0; i < 10_000; i++) numbers.add([i, 1, -i]);
  expect([numbers.count, ...numbers.sums(), ...numbers.sums(Int32Array.of(9999, 9999, 0))]).toEqual([
    10_000, 49_995_000, 10_000, -49_995_000, 19_998, 3, -19_998,
  ]);
  expect([numbers.at(17, 2), numbers.column(0, Int32Array.of(5, 3)), [...numbers.each()[4]!]]).toEqual([
    -17,
    Float64Array.of(5, 3),
    [4, 1, -4],
  ]);
});
