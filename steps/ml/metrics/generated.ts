/**
 * Metrics of generated texts, computed example by example. Each is defined by its reference implementation, in its
 * units: bleu, chrf and chrf++ by sacrebleu, from 0 to 100; rouge1, rouge2, rougeL and rougeLsum by rouge_score, from
 * 0 to 1; exact_match is the share of outputs that equal one of their references exactly.
 */

import type { Json } from '../../../engine/step.ts';
import type { Counter, GeneratedExample } from './counts.ts';
import { rouge } from './rouge.ts';
import { bleu, chrf } from './sacrebleu.ts';

/** All metrics by name. */
export const GENERATED: Record<string, () => Counter> = {
  rouge1: () => rouge('rouge1'),
  rouge2: () => rouge('rouge2'),
  rougeL: () => rouge('rougeL'),
  rougeLsum: () => rouge('rougeLsum'),
  bleu,
  chrf: () => chrf(0),
  'chrf++': () => chrf(2),
  exact_match: exactMatch,
};

interface GeneratedMetrics {
  add(one: GeneratedExample): void;
  metrics(): Record<string, number>;
  /** By metric, if it has any. */
  details(): Record<string, Json>;
}

/** `names` are keys of GENERATED. Texts are not kept, only what each metric counts. */
export function generatedMetrics(names: readonly string[]): GeneratedMetrics {
  const counters = names.map((name) => [name, GENERATED[name]!()] as const);
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
