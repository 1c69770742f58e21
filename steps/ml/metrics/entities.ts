/**
 * Metrics of token classification, as defined by seqeval in its default mode: an entity is correct if its type and
 * both ends are, and a tag that does not fit the previous one (an I- after O or after another type) begins a new
 * entity, as in the CoNLL script.
 */

import { type Counts, computed, mean, scoresOf } from './counts.ts';
import { PerExample } from './per-example.ts';

interface Tagged {
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

/** What some examples add up to. */
interface Counted {
  /** For each type that occurs, true or predicted. */
  types: Record<string, Counts>;
  /** For all types together. */
  all: Counts;
  words: number;
  /** Words whose tag is predicted correctly. */
  right: number;
}

/** All metrics by name. precision, recall and f1 are micro averages over the entities of all types. */
export const ENTITIES: Record<string, (counted: Counted) => number> = {
  /** Counts words, not entities. */
  accuracy: ({ right, words }) => right / words,
  precision: ({ all }) => (all.claimed === 0 ? Number.NaN : ofEntities(all, scoresOf(all).precision)),
  recall: ({ all }) => ofEntities(all, scoresOf(all).recall),
  f1: ({ all }) => ofEntities(all, scoresOf(all).f1),
  macro_f1: ({ types, all }) => ofEntities(all, mean(Object.values(types).map((counts) => scoresOf(counts).f1))),
};

/** Without a true entity the metrics say nothing about the model. */
const ofEntities = ({ support }: Counts, value: number): number => (support === 0 ? Number.NaN : value);

export function whyOfEntities(metric: string, { all }: Counted): string | undefined {
  if (metric === 'accuracy') return undefined;
  if (all.support === 0) return 'no row has an entity';
  return all.claimed === 0 ? 'no entity is predicted' : undefined;
}

/** From 0 to 1; NaN without a true entity or, for precision, without a predicted one. `names` are keys of ENTITIES. */
export function entityMetrics({ truth, predicted }: Tagged, names: readonly string[]): Record<string, number> {
  const counts = new EntityCounts();
  for (const [i, tags] of truth.entries()) counts.add(tags, predicted[i]!);
  return computed(ENTITIES, names, counts.counted());
}

/** Counts the entities of each example. */
export class EntityCounts {
  readonly #types = new Map<string, number>();
  /** Hits, claimed and true entities of a type; an entry for each type that an example has. */
  readonly #entries = new PerExample(4, Int32Array);
  /** For each example: the end of its entries, its words, and those whose tag is correct. */
  readonly #examples = new PerExample(3, Int32Array);

  add(truth: string[], predicted: string[]): void {
    const real = entitiesOf(truth);
    const claimed = entitiesOf(predicted);
    const counts = new Map<number, Counts>();
    const of = (type: string) => {
      if (!this.#types.has(type)) this.#types.set(type, this.#types.size);
      const id = this.#types.get(type)!;
      if (!counts.has(id)) counts.set(id, { hits: 0, claimed: 0, support: 0 });
      return counts.get(id)!;
    };
    for (const { type } of real) of(type).support++;
    const known = new Set(real.map(keyOf));
    for (const entity of claimed) {
      of(entity.type).claimed++;
      if (known.has(keyOf(entity))) of(entity.type).hits++;
    }
    for (const [type, { hits, claimed, support }] of counts) this.#entries.add([type, hits, claimed, support]);
    const right = truth.reduce((sum, tag, i) => sum + (tag === predicted[i] ? 1 : 0), 0);
    this.#examples.add([this.#entries.count, truth.length, right]);
  }

  /** Adds up these examples; default: all. */
  counted(rows?: Int32Array): Counted {
    const [entries, examples] = [this.#entries, this.#examples];
    const names = [...this.#types.keys()];
    const counts = names.map((): Counts => ({ hits: 0, claimed: 0, support: 0 }));
    const all: Counts = { hits: 0, claimed: 0, support: 0 };
    const length = rows?.length ?? examples.count;
    for (let i = 0; i < length; i++) {
      const row = rows ? rows[i]! : i;
      for (let k = row === 0 ? 0 : examples.at(row - 1, 0); k < examples.at(row, 0); k++) {
        const count = counts[entries.at(k, 0)]!;
        count.hits += entries.at(k, 1);
        count.claimed += entries.at(k, 2);
        count.support += entries.at(k, 3);
      }
    }
    for (const { hits, claimed, support } of counts) {
      all.hits += hits;
      all.claimed += claimed;
      all.support += support;
    }
    const [, words, right] = examples.sums(rows);
    const found = names.map((name, type) => [name, counts[type]!] as const).filter(([, { claimed, support }]) => claimed + support > 0);
    const sorted = found.sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      types: Object.fromEntries(sorted),
      all,
      words: words!,
      right: right!,
    };
  }
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
