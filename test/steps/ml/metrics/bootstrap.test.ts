/** Intervals equal those of scipy.stats.bootstrap, and tests those of statsmodels, on stored samples (test/golden/intervals.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type BootstrapOptions, bootstrap, intervalOf } from '../../../../steps/ml/metrics/bootstrap.ts';
import { normalCdf, normalQuantile } from '../../../../steps/ml/metrics/distributions.ts';
import { mcnemar, pairedTests, signTail } from '../../../../steps/ml/metrics/paired-tests.ts';
import { classificationOf } from '../../../../steps/ml/metrics/text-classification.ts';

const golden = JSON.parse(readFileSync(new URL('../../../golden/intervals.json', import.meta.url), 'utf8'));

const options: BootstrapOptions = { resamples: 1000, level: 0.95, method: 'bca', seed: 0 };
const all = (count: number) => Int32Array.from({ length: count }, (_, i) => i);
const meanOf = (values: ArrayLike<number>) => (rows: Int32Array) => ({
  mean: rows.reduce((sum, row) => sum + values[row]!, 0) / rows.length,
});
const intervalOfMean = (values: number[], more: object = {}, units: object = {}) =>
  bootstrap(meanOf(values), { rows: all(values.length), ...units }, { ...options, ...more }).mean!.interval;

describe('scipy', () => {
  test.each<[string, any]>(golden.intervals.map((one: any) => [one.name, one]))(
    '%s',
    (_, { value, replicates, jackknife, level, bca, percentile }) => {
      for (const [method, [low, high]] of [
        ['bca', bca],
        ['percentile', percentile],
      ] as const) {
        const interval = intervalOf(value, replicates, jackknife, { level, method });
        expect(interval.low).toBeCloseTo(low, 12);
        expect(interval.high).toBeCloseTo(high, 12);
      }
    },
  );

  test('samples of our own', () => {
    const { data, bca } = golden.close;
    const { low, high } = intervalOfMean(data, { resamples: 10_000 });
    expect(low).toBeCloseTo(bca[0], 2);
    expect(high).toBeCloseTo(bca[1], 2);
  });

  test('the normal distribution', () => {
    const { x, cdf, p, quantile } = golden.normal;
    x.forEach((one: number, i: number) => {
      expect(normalCdf(one) / cdf[i]).toBeCloseTo(1, 10);
    });
    p.forEach((one: number, i: number) => {
      expect(normalQuantile(one)).toBeCloseTo(quantile[i], 12);
    });
  });
});

describe('samples', () => {
  const values = Array.from({ length: 3000 }, (_, i) => ((i * 7919) % 1000) / 1000 + (i % 50 === 0 ? 3 : 0));

  test('blocks of many examples lead to the same interval as single examples', () => {
    const few = values.slice(0, 1000);
    const [one, other] = [intervalOfMean([...few, ...few, ...few]), intervalOfMean(values)];
    expect(one.low).toBeCloseTo(other.low, 1);
    // The acceleration of bca moves both ends up if large values are rare.
    const plain = intervalOfMean(values, { method: 'percentile' });
    expect(other.low).toBeGreaterThan(plain.low - 0.001);
    expect(other.high).toBeGreaterThan(plain.high - 0.001);
  });

  test('the seed decides', () => {
    expect(intervalOfMean(values)).toEqual(intervalOfMean(values));
    expect(intervalOfMean(values, { seed: 1 })).not.toEqual(intervalOfMean(values));
  });

  test('groups are drawn whole, and equal examples of a group add no certainty', () => {
    const own = values.slice(0, 60);
    const repeated = own.flatMap((value) => [value, value, value, value]);
    const groups = repeated.map((_, i) => i >> 2);
    const [ofGroups, ofExamples, ofOriginals] = [intervalOfMean(repeated, {}, { groups }), intervalOfMean(repeated), intervalOfMean(own)];
    expect(ofGroups.low).toBeCloseTo(ofOriginals.low, 12);
    expect(ofGroups.high).toBeCloseTo(ofOriginals.high, 12);
    expect(ofExamples.high - ofExamples.low).toBeLessThan(0.7 * (ofGroups.high - ofGroups.low));
  });

  test('groups of different sizes', () => {
    const groups = values.map((_, i) => Math.floor(Math.sqrt(i)));
    const sizes = new Set<number>();
    const { interval } = bootstrap(
      (rows) => {
        sizes.add(rows.length);
        return meanOf(values)(rows);
      },
      { rows: all(values.length), groups },
      options,
    ).mean!;
    expect(sizes.size).toBeGreaterThan(100);
    expect(interval.low).toBeLessThan(interval.high);
  });

  test('each stratum keeps its size', () => {
    const strata = values.map((_, i) => (i % 10 === 0 ? 1 : 0));
    const counts = new Set<number>();
    bootstrap(
      (rows) => {
        if (rows.length === values.length) counts.add(rows.reduce((sum, row) => sum + strata[row]!, 0));
        return {};
      },
      { rows: all(values.length), strata },
      { ...options, resamples: 20, method: 'percentile' },
    );
    expect([...counts]).toEqual([300]);
  });

  describe('of a metric that varies between the strata only', () => {
    const strata = Int32Array.from({ length: 600 }, (_, i) => (i % 3 === 0 ? 1 : 0));
    /** One value for each stratum, and noise. */
    const of = (noise: number, more: object = {}, units: object = { strata }) =>
      intervalOfMean(
        Array.from(strata, (own, i) => own + noise * Math.sin(i)),
        more,
        units,
      );

    test.each(['bca', 'percentile'])('there is no interval, and the reason names `stratify: false`: %s', (method) => {
      expect(of(0, { method })).toEqual({ low: Number.NaN, high: Number.NaN, why: expect.stringContaining('stratify: false') });
      expect(of(1e-15, { method }).why).toContain('stratify: false');
    });

    test.each(['bca', 'percentile'])('a narrow interval is marked: %s', (method) => {
      const [narrow, free] = [of(0.01, { method }), of(0.01, { method }, {})];
      expect(narrow.narrow).toBe(true);
      expect(narrow.high - narrow.low).toBeLessThan((free.high - free.low) / 5);
      expect(free).not.toHaveProperty('narrow');
      expect(of(1, { method })).not.toHaveProperty('narrow');
    });

    test.each([600, 1001, 20_000])('the number of rows does not decide whether an interval is narrow: %i', (count) => {
      const strata = Int32Array.from({ length: count }, (_, i) => (i % 5 === 0 ? 1 : 0));
      const own = (values: number[], method: string) =>
        intervalOfMean(values, { resamples: 100, method }, { rows: all(count), strata }) as { narrow?: true };
      // 99% of the rows of one label are right, and half of those of the other.
      const right = Array.from(strata, (label, i) => (label === 1 ? (i % 10 === 0 ? 1 : 0) : i % 100 === 1 ? 0 : 1));
      const almostConstant = Array.from(strata, (label, i) => label + 0.01 * Math.sin(i));
      for (const method of ['bca', 'percentile']) {
        expect(own(right, method)).not.toHaveProperty('narrow');
        expect(own(almostConstant, method).narrow).toBe(true);
      }
    });

    test('without strata it has one', () => {
      const { low, high } = of(0, {}, {});
      expect(low).toBeCloseTo(1 / 3 - 0.038, 2);
      expect(high).toBeCloseTo(1 / 3 + 0.038, 2);
    });
  });

  test('the gap of two parts of rows with one prediction varies, though each stratum keeps its size', () => {
    // Predicted is always 0, so the accuracy of a part is its share of the label 0.
    const strata = Int32Array.from({ length: 800 }, (_, i) => (i % 5 < 2 ? 1 : 0));
    const shareOf = (rows: Int32Array, part: number) => {
      const own = rows.filter((row) => (row & 1) === part);
      return own.filter((row) => strata[row] === 0).length / own.length;
    };
    const gap = (rows: Int32Array) => ({ gap: shareOf(rows, 1) - shareOf(rows, 0) });
    const { interval } = bootstrap(gap, { rows: all(800), strata }, options).gap!;
    expect(interval.low).toBeLessThan(0);
    expect(interval.high).toBeGreaterThan(0);
    expect(interval).not.toHaveProperty('narrow');
    const same = bootstrap((rows) => ({ gap: gap(rows).gap - gap(rows).gap }), { rows: all(800), strata }, options).gap!;
    expect(same.interval.why).toMatch(/^all bootstrap samples have the same value/);
  });

  test('a subset', () => {
    const rows = Int32Array.of(5, 8, 13, 21, 34, 55);
    const drawn = new Set<number>();
    bootstrap(
      (sample) => {
        for (const row of sample) drawn.add(row);
        return {};
      },
      { rows },
      options,
    );
    expect([...drawn].sort((a, b) => a - b)).toEqual([...rows]);
  });
});

describe('undefined intervals', () => {
  test.each<[string, number[], object, RegExp]>([
    ['one example', [1], {}, /at least two examples, and there is one/],
    ['no example', [], {}, /at least two examples, and there is none/],
    ['one group', [1, 2, 3], { groups: [4, 4, 4] }, /at least two groups, and there is one/],
    ['equal values', [1, 1, 1, 1], {}, /same value/],
    ['a stratum for each', [1, 2, 3], { strata: [0, 1, 2] }, /same value/],
  ])('%s', (_, values, units, why) => {
    const interval = intervalOfMean(values, {}, units);
    expect([interval.low, interval.high]).toEqual([Number.NaN, Number.NaN]);
    expect(interval.why).toMatch(why);
  });

  test('a metric that is undefined, always or often', () => {
    const sometimes = (often: number) =>
      bootstrap(
        (rows) => ({ mean: rows.some((row) => row < often) ? rows.reduce((sum, row) => sum + row, 0) / rows.length : Number.NaN }),
        { rows: all(50) },
        options,
      ).mean!.interval;
    expect(sometimes(0).why).toBe('the metric itself is undefined');
    expect(sometimes(1).why).toMatch(/undefined on 3\d% of the bootstrap samples/);
    // (49/50)^50 is 36%, and (44/50)^50 is 0.2%.
    expect(sometimes(6).why).toBeUndefined();
    expect(sometimes(6).low).toBeLessThan(sometimes(6).high);
  });

  test('up to 5% of the samples may be undefined, and no more', () => {
    const samples = (nothing: number) => Array.from({ length: 100 }, (_, i) => (i < nothing ? Number.NaN : i));
    const of = (nothing: number) => intervalOf(50, samples(nothing), [], { level: 0.95, method: 'percentile' });
    expect(of(5)).toMatchObject({ usable: 0.95, low: expect.any(Number) });
    expect(of(5).why).toBeUndefined();
    expect(of(6).why).toMatch(/undefined on 6% of the bootstrap samples/);
  });

  test('all samples on one side', () => {
    expect(intervalOf(0, [1, 2, 3], [[1, 2]], { level: 0.95, method: 'bca' }).why).toMatch(/on one side/);
    expect(intervalOf(0, [1, 2, 3], [], { level: 0.5, method: 'percentile' })).toEqual({ low: 1.5, high: 2.5 });
  });
});

describe('paired tests', () => {
  test.each<[number, number, any]>(golden.mcnemar.map((one: any) => [one.first, one.second, one]))(
    "McNemar's test of %i and %i",
    (first, second, { exact, chi2 }) => {
      const [a, b] = [
        [...new Array(first).fill(true), ...new Array(second).fill(false), true, false],
        [...new Array(first).fill(false), ...new Array(second).fill(true), true, false],
      ];
      const wanted = first + second < 25 ? exact : chi2;
      const tested = mcnemar(a, b);
      expect(tested).toMatchObject({ onlyFirst: first, onlySecond: second, exact: first + second < 25 });
      expect(tested.statistic).toBeCloseTo(wanted.statistic, 12);
      expect(tested.p).toBeCloseTo(wanted.p, 12);
    },
  );

  /** Without McNemar's test. */
  const pairedBootstrap = (first: number[], second: number[]) =>
    pairedTests(meanOf(first), meanOf(second), {
      correct: () => undefined,
      units: { rows: all(first.length) },
      options,
    }).mean!;

  test('the paired bootstrap is that of scipy, on its samples and on samples of our own', () => {
    const { truth, first, second, difference, replicates, percentile, p } = golden.paired;
    const { low, high } = intervalOf(difference, replicates, [], { level: 0.95, method: 'percentile' });
    expect(low).toBeCloseTo(percentile[0], 12);
    expect(high).toBeCloseTo(percentile[1], 12);
    expect(signTail(difference, replicates)).toBeCloseTo(p, 12);
    const f1Of = (predicted: number[]) => classificationOf({ classes: 2, positive: 1, truth, predicted }, ['f1']);
    const own = pairedTests(f1Of(first), f1Of(second), {
      correct: () => undefined,
      units: { rows: all(truth.length) },
      options: { ...options, method: 'percentile', resamples: 2000 },
    }).f1!;
    expect(own.difference).toBeCloseTo(difference, 10);
    expect(own.test).toBe('paired bootstrap');
    expect(Math.abs(own.interval.low - percentile[0])).toBeLessThan(0.05);
    expect(Math.abs(own.interval.high - percentile[1])).toBeLessThan(0.05);
    expect(Math.abs(own.p - p)).toBeLessThan(0.1);
  });

  test('the paired bootstrap uses that both models see the same examples', () => {
    const first = Array.from({ length: 200 }, (_, i) => ((i * 37) % 200) / 20);
    const second = first.map((value, i) => value + (i % 3 === 0 ? 0.1 : 0));
    const { difference, interval, p } = pairedBootstrap(first, second);
    expect(difference).toBeCloseTo(0.0335, 10);
    expect(interval.low).toBeGreaterThan(0.025);
    expect(interval.high).toBeLessThan(0.045);
    expect(p).toBeCloseTo(2 / 1001, 10);
  });

  test('equal models do not differ', () => {
    const tested = pairedBootstrap([1, 2, 3], [1, 2, 3]);
    expect(tested).toMatchObject({ difference: 0, p: 1 });
    expect(tested.interval.why).toMatch(/same value/);
  });

  test('the p-value counts samples of the other sign', () => {
    expect(signTail(1, [1, 2, -1, 3, 0, 2, 1, 1, 1])).toBeCloseTo(0.6, 12);
    expect(signTail(-1, [-1, -2, 1])).toBe(1);
    expect(signTail(Number.NaN, [])).toBeNaN();
  });
});
