/** The most frequent tag overall, and the most frequent tag of each word: entities without any context. */
import { StepError } from '../../engine/step.ts';
import { quote } from '../data/database.ts';
import { entityMetrics } from '../metrics/entities.ts';
import { metricNames } from '../tasks/registry.ts';
import type { Measure } from './baseline.ts';

interface Tagged {
  words: string[];
  tags: string[];
  [column: string]: string[];
}

/** Fits on rows, and predicts the tag of each word. */
const METHODS: Record<string, (train: Tagged[]) => (word: string) => string> = {
  majority(train) {
    const commonest = commonestOf(train.flatMap(({ tags }) => tags));
    return () => commonest;
  },
  commonest_tag(train) {
    const unseen = commonestOf(train.flatMap(({ tags }) => tags));
    const tagsOf = new Map<string, string[]>();
    for (const { words, tags } of train) {
      for (const [i, word] of words.entries()) {
        if (!tagsOf.has(word)) tagsOf.set(word, []);
        tagsOf.get(word)!.push(tags[i]!);
      }
    }
    const commonest = new Map([...tagsOf].map(([word, tags]) => [word, commonestOf(tags)]));
    return (word) => commonest.get(word) ?? unseen;
  },
};

export const tokenClassification: Measure = async (options, methods, { read }) => {
  const columns = { words: options.words ?? 'tokens', tags: options.tags ?? 'tags' };
  const asTexts = (column: string) => `coalesce(${quote(column)}::VARCHAR[], [])`;
  const rowsOf = async (split: string): Promise<Tagged[]> => {
    const rows = await read<Tagged>(split, columns, { words: asTexts, tags: asTexts });
    if (rows.some(({ words, tags }) => words.length !== tags.length))
      throw new StepError(`a row of the split ${split} has different numbers of words and tags`, 'tokenize reports which row.');
    return rows;
  };
  const train = await rowsOf('train');
  const test = await rowsOf(options.split);
  const labels = [...new Set(train.flatMap(({ tags }) => tags))].sort();
  const names = metricNames('token-classification', 'single_label_classification', labels, options.metrics);
  const truth = test.map(({ tags }) => tags);
  const results = methods.map((name) => {
    const tagOf = METHODS[name]!(train);
    return [name, { metrics: entityMetrics({ truth, predicted: test.map(({ words }) => words.map(tagOf)) }, names) }] as const;
  });
  return { rows: test.length, about: { labels }, methods: Object.fromEntries(results) };
};

/** The first in order of equals. */
function commonestOf(tags: string[]): string {
  const counts = new Map<string, number>();
  for (const tag of tags.toSorted()) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)![0];
}
