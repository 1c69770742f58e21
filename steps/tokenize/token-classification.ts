/**
 * token-classification: lists of words with a tag each. The words of a row are joined by spaces, as in texts that are
 * tagged later. The first token of a word has its tag, and the loss ignores its other tokens.
 */
import { StepError } from '../../engine/step.ts';
import { quote, type Row } from '../data/database.ts';
import { requireColumn } from '../data/table.ts';
import { IGNORED, wordsOfTokens } from '../tasks/token-classification.ts';
import { type LabelCount, labelSet } from './labels.ts';
import type { Prepare, Source } from './tokenize.ts';

interface Tagged extends Row {
  id: string;
  /** JSON lists. */
  words: string;
  tags: string;
}

export const tokenClassification: Prepare<Tagged> = async (source) => {
  const { options } = source;
  const [words, tags] = [options.words ?? 'tokens', options.tags ?? 'tags'];
  const type = requireLists(source, words, tags);
  await refuseUneven(source, words, tags);
  const labels = await survey(source, tags, type);
  const ids = new Map(labels.map((label, i) => [label, i]));
  const counts = { words: 0, unread: 0 };
  return {
    labels,
    fields: { text: words },
    paired: false,
    columns: { labels: { per: 'token', dtype: 'int32', width: 1 } },
    select: { words: `to_json(${quote(words)}::VARCHAR[])::VARCHAR`, tags: `to_json(${quote(tags)}::VARCHAR[])::VARCHAR` },
    async encode(rows, read) {
      const lists = rows.map((row) => JSON.parse(row.words) as string[]);
      const windows = await read(lists.map((list) => ({ text: list.join(' ') })));
      return rows.map(({ id, tags }, i) => {
        const names = JSON.parse(tags) as string[];
        const words = wordsOfTokens(windows[i]!, lists[i]!);
        const begun = new Set(words);
        const labels = words.map((word) => (word === undefined ? IGNORED : ids.get(names[word]!)!));
        const sequences = windows[i]!.map((sequence) => ({ sequence, values: { labels: labels.splice(0, sequence.ids.length) } }));
        const unread = names.flatMap((tag, word): [number, string][] => (begun.has(word) ? [] : [[word, tag]]));
        counts.words += names.length;
        counts.unread += unread.length;
        return { example: { id, words: lists[i]!, ...(unread.length > 0 && { unread }) }, sequences, truncated: false };
      });
    },
    finish() {
      if (counts.unread > 0)
        source.warn(
          `${counts.unread} of ${counts.words} words have no token: they are empty, or the tokenizer removes all of their characters. The model neither learns nor predicts them; evaluate counts them as O`,
        );
    },
  };
};

function requireLists({ columns }: Source, words: string, tags: string): string {
  for (const [name, option] of [[words, 'words'] as const, [tags, 'tags'] as const]) {
    const { type } = requireColumn(columns, name, option);
    if (!type.endsWith('[]'))
      throw new StepError(
        `the column \`${name}\` contains ${type}, not lists`,
        'token-classification needs a list of words and a list of tags: {"tokens": ["Ada", "wrote"], "tags": ["B-PER", "O"]}.',
        [option],
      );
  }
  return columns.find(({ name }) => name === tags)!.type;
}

async function refuseUneven({ database, table }: Source, words: string, tags: string): Promise<void> {
  const [w, t] = [quote(words), quote(tags)];
  const wrong = await database.rows<{ id: string; words: number | null; tags: number | null; holes: boolean }>(
    `SELECT id, len(${w}) AS words, len(${t}) AS tags, true AS holes FROM ${table}
     WHERE len(${w}) IS DISTINCT FROM len(${t}) OR list_contains(list_transform(${w}, lambda x: x IS NULL), true)
       OR list_contains(list_transform(${t}, lambda x: x IS NULL), true) ORDER BY id LIMIT 1`,
  );
  const [row] = wrong;
  if (!row) return;
  throw new StepError(
    row.words === row.tags
      ? `row ${row.id}: a word or a tag is null`
      : `row ${row.id} has ${row.words ?? 'no'} words in \`${words}\` and ${row.tags ?? 'no'} tags in \`${tags}\``,
    'Each word needs one tag. Correct the row, or leave it out in collect with `where`.',
  );
}

async function survey(source: Source, tags: string, type: string): Promise<string[]> {
  const { database, table, split } = source;
  const found = await database.rows<LabelCount>(
    `SELECT label, count(*) AS rows, count(*) FILTER (WHERE split = 'train') AS trained
     FROM (SELECT ${split} AS split, unnest(${quote(tags)}::VARCHAR[]) AS label FROM ${table}) GROUP BY label ORDER BY label`,
  );
  return labelSet(found, type, source, 'tags');
}
