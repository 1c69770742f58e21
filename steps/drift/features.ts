/** Compares one feature of the rows: a number of each text, or its label. */
import { mean } from '../ml/metrics/counts.ts';
import { binned, binsOf, chiSquared, kolmogorovSmirnov, stabilityIndex } from '../ml/metrics/drift.ts';

/** The figures of a step, by name, with the reasons for those that are undefined. */
export class DriftFigures {
  readonly metrics: Record<string, number | null> = {};
  readonly undefined: Record<string, string> = {};
  /** What the figures were computed from. */
  readonly features: Record<string, object> = {};

  figures(values: Record<string, number>): void {
    Object.assign(this.metrics, values);
  }

  unknown(why: string, ...names: string[]): void {
    for (const name of names) {
      this.metrics[name] = null;
      this.undefined[name] = why;
    }
  }

  numbers(name: string, reference: Float64Array, current: Float64Array): void {
    const bounds = binsOf(reference);
    const counts = { reference: binned(reference, bounds), current: binned(current, bounds) };
    const { statistic, p } = kolmogorovSmirnov(reference, current);
    this.figures({ [`${name}.psi`]: stabilityIndex(counts.reference, counts.current), [`${name}.ks`]: statistic, [`${name}.p`]: p });
    this.features[name] = {
      mean: { reference: mean([...reference]), current: mean([...current]) },
      bins: { upper_bounds: bounds, ...counts },
      psi_by_chance: byChance(bounds.length + 1, counts),
    };
  }

  labels(reference: readonly string[], current: readonly string[]): void {
    const names = [...new Set([...reference, ...current])].sort();
    const count = (labels: readonly string[]) => {
      const counts = new Map(names.map((name) => [name, 0]));
      for (const label of labels) counts.set(label, counts.get(label)! + 1);
      return [...counts.values()];
    };
    const counts = { reference: count(reference), current: count(current) };
    const named = (values: number[]) => Object.fromEntries(names.map((name, i) => [name, values[i]!]));
    const test = chiSquared(counts.reference, counts.current);
    this.figures({ 'label.psi': stabilityIndex(counts.reference, counts.current) });
    if (test) this.figures({ 'label.chi_squared': test.statistic, 'label.p': test.p });
    else this.unknown(`all rows have the label ${JSON.stringify(names[0])}`, 'label.chi_squared', 'label.p');
    this.features.label = {
      reference: named(counts.reference),
      current: named(counts.current),
      psi_by_chance: byChance(names.length, counts),
      ...(test && { degrees_of_freedom: test.degrees, smallest_expected_count: test.expected }),
    };
  }
}

/** The population stability index that rows of the same distribution have on average (Yurdakul 2018): it is large for few rows. */
function byChance(bins: number, { reference, current }: { reference: number[]; current: number[] }): number {
  const [n, m] = [reference, current].map((counts) => counts.reduce((sum, count) => sum + count, 0)) as [number, number];
  return (bins - 1) * (1 / n + 1 / m);
}

export const charactersOf = (texts: readonly string[][]): Float64Array =>
  Float64Array.from(texts, (row) => row.reduce((sum, text) => sum + [...text].length, 0));

const wordsIn = (texts: readonly string[]): string[] => texts.flatMap((text) => text.match(/\S+/gu) ?? []);

export const wordsOf = (texts: readonly string[][]): Float64Array => Float64Array.from(texts, (row) => wordsIn(row).length);

/**
 * The share of the words of each text that do not occur in the first half of the reference, in any case. The second half shows which
 * share is usual.
 */
export function unknownWords(
  reference: readonly string[][],
  current: readonly string[][],
): { reference: Float64Array; current: Float64Array } {
  const half = Math.ceil(reference.length / 2);
  const vocabulary = new Set<string>();
  for (const texts of reference.slice(0, half)) for (const word of lettersIn(texts)) vocabulary.add(word);
  const share = (texts: readonly string[]) => {
    const words = lettersIn(texts);
    return words.length === 0 ? 0 : words.filter((word) => !vocabulary.has(word)).length / words.length;
  };
  return { reference: Float64Array.from(reference.slice(half), share), current: Float64Array.from(current, share) };
}

const lettersIn = (texts: readonly string[]): string[] => texts.flatMap((text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);
