/**
 * Metrics of token classification, as defined by seqeval in its default mode: an entity is correct if its type and
 * both ends are, and a tag that does not fit the previous one (an I- after O or after another type) begins a new
 * entity, as in the CoNLL script.
 */

import { type Counts, computed, mean, type Scores, scoresOf } from './counts.ts';

export interface Tagged {
  /** Tags of each example: `O`, `B-PER`, `I-PER` … */
  truth: string[][];
  predicted: string[][];
}

interface Entity {
  type: string;
  /** Word indices; the end is exclusive. */
  begin: number;
  end: number;
}

/** All metrics by name. precision, recall and f1 are micro averages over the entities of all types. */
export const ENTITIES: Record<string, (tagged: Tagged) => number> = {
  /** Counts words, not entities. */
  accuracy({ truth, predicted }) {
    const words = truth.flatMap((tags, i) => tags.map((tag, k): number => (tag === predicted[i]![k] ? 1 : 0)));
    return mean(words);
  },
  precision: (tagged) => counted(tagged).micro.precision,
  recall: (tagged) => counted(tagged).micro.recall,
  f1: (tagged) => counted(tagged).micro.f1,
  macro_f1: (tagged) => mean(Object.values(counted(tagged).types).map(({ f1 }) => f1)),
};

/** From 0 to 1, and 0 for a division by zero; macro_f1 is NaN if there is no entity. `names` are keys of ENTITIES. */
export const entityMetrics = (tagged: Tagged, names: readonly string[]): Record<string, number> => computed(ENTITIES, names, tagged);

/** For each type that occurs, and for all together. */
export function counted({ truth, predicted }: Tagged): { types: Record<string, Scores>; micro: Scores } {
  const counts = new Map<string, Counts>();
  const all = { hits: 0, claimed: 0, support: 0 };
  const of = (type: string) => {
    if (!counts.has(type)) counts.set(type, { hits: 0, claimed: 0, support: 0 });
    return counts.get(type)!;
  };
  for (const [i, tags] of truth.entries()) {
    const real = entitiesOf(tags);
    const claimed = entitiesOf(predicted[i]!);
    for (const count of real.flatMap(({ type }) => [of(type), all])) count.support++;
    for (const count of claimed.flatMap(({ type }) => [of(type), all])) count.claimed++;
    const known = new Set(real.map(keyOf));
    for (const entity of claimed) if (known.has(keyOf(entity))) for (const count of [of(entity.type), all]) count.hits++;
  }
  const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  return { types: Object.fromEntries(sorted.map(([type, count]) => [type, scoresOf(count)])), micro: scoresOf(all) };
}

/** The entities of a tag sequence, with IOB1, IOB2 or IOBES tags. */
function entitiesOf(tags: string[]): Entity[] {
  const entities: Entity[] = [];
  let [before, typeBefore] = ['O', ''];
  let begin = 0;
  for (const [i, tag] of [...tags, 'O'].entries()) {
    const [prefix, type] = partsOf(tag);
    if (ends(before, typeBefore, prefix, type)) entities.push({ type: typeBefore, begin, end: i });
    if (begins(before, typeBefore, prefix, type)) begin = i;
    [before, typeBefore] = [prefix, type];
  }
  return entities;
}

/** The first letter, and the part after the first dash that follows it. */
function partsOf(tag: string): [prefix: string, type: string] {
  const rest = tag.slice(1);
  return [tag[0] ?? 'O', rest.slice(rest.indexOf('-') + 1) || '_'];
}

function ends(before: string, typeBefore: string, prefix: string, type: string): boolean {
  if (before === 'E' || before === 'S') return true;
  if ((before === 'B' || before === 'I') && ['B', 'S', 'O'].includes(prefix)) return true;
  return before !== 'O' && before !== '.' && typeBefore !== type;
}

function begins(before: string, typeBefore: string, prefix: string, type: string): boolean {
  if (prefix === 'B' || prefix === 'S') return true;
  if (['E', 'S', 'O'].includes(before) && (prefix === 'E' || prefix === 'I')) return true;
  return prefix !== 'O' && prefix !== '.' && typeBefore !== type;
}

const keyOf = ({ type, begin, end }: Entity): string => `${begin} ${end} ${type}`;
