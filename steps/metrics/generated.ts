/**
 * Metrics of generated text, taken in example by example. Each is defined by the program that made it a standard, in its
 * units: bleu, chrf and chrf++ as sacrebleu's, from 0 to 100; rouge1, rouge2, rougeL and rougeLsum as rouge_score's, from 0 to 1;
 * exact_match is the share of outputs that are one of their references to the letter.
 */
import type { Json } from '../../engine/step.ts';
import { bleu } from './bleu.ts';
import { chrf } from './chrf.ts';
import { rouge } from './rouge.ts';

export interface Generated {
  /** What may be said, one text or several. */
  references: string[];
  predicted: string;
}

/** One metric of one evaluation. */
export interface Counter {
  add(one: Generated): void;
  value(): number;
  /** What a reader needs beside the number: how it was computed, how sure it is. */
  details?(): Record<string, Json>;
}

/** Every metric that can be asked for, by name. */
export const METRICS: Record<string, () => Counter> = {
  rouge1: () => rouge('rouge1'),
  rouge2: () => rouge('rouge2'),
  rougeL: () => rouge('rougeL'),
  rougeLsum: () => rouge('rougeLsum'),
  bleu,
  chrf: () => chrf(0),
  'chrf++': () => chrf(2),
  exact_match: exactMatch,
};

export interface GeneratedMetrics {
  add(one: Generated): void;
  metrics(): Record<string, number>;
  /** By metric, of those that have any. */
  details(): Record<string, Json>;
}

/** `names` are of METRICS. Nothing is kept of a text but what each metric counts. */
export function generatedMetrics(names: readonly string[]): GeneratedMetrics {
  const counters = names.map((name) => [name, METRICS[name]!()] as const);
  return {
    add(one) {
      for (const [, counter] of counters) counter.add(one);
    },
    metrics: () => Object.fromEntries(counters.map(([name, counter]) => [name, counter.value()])),
    details: () => Object.fromEntries(counters.flatMap(([name, { details }]) => (details ? [[name, details()]] : []))),
  };
}

function exactMatch(): Counter {
  let [all, same] = [0, 0];
  return {
    add({ references, predicted }) {
      all++;
      if (references.includes(predicted)) same++;
    },
    value: () => same / all,
  };
}
