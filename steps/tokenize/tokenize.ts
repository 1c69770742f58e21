import { mkdir } from 'node:fs/promises';
import { StepError } from '../../engine/step.ts';
import { Database, literal, quote } from '../data/database.ts';
import { carryPreprocessing } from '../data/preprocessing.ts';
import { requireColumn, tableOf } from '../data/table.ts';
import { listed, readConfig } from '../models/checkpoint.ts';
import { familyOf } from '../models/registry.ts';
import { copyTokenizer, openTokenizer, type Tokenized } from '../models/tokenizer.ts';
import { SplitWriter, type TokensInfo, writeTokensInfo } from '../models/tokens.ts';
import type step from './step.ts';

type Context = Parameters<(typeof step)['run']>[0];

export async function tokenize(context: Context): Promise<void> {
  const { options, inputs, outputs, signal, log, warn, progress } = context;
  // Read by the tokenizers library when it starts its first thread.
  process.env.RAYON_NUM_THREADS ??= String(context.threads);

  const file = await readConfig(inputs.model);
  const family = familyOf(file);
  const config = family.configure(file);
  const limit = family.maxLength(config);
  const maxLength = options.max_length ?? limit;
  if (maxLength > limit)
    throw new StepError(`max_length ${maxLength} is more than the model's ${limit} tokens`, `Set max_length to ${limit} or less.`);
  const tokenizer = await openTokenizer(inputs.model, maxLength);
  if (tokenizer.size > config.vocab_size) {
    throw new StepError(
      `the tokenizer has ${tokenizer.size} tokens, and the model's embedding table ${config.vocab_size} rows`,
      'tokenizer.json and config.json (vocab_size) are of different models: take both from one.',
    );
  }

  const database = await Database.open();
  try {
    const { rows: total, labels, splits } = await survey(database, inputs.data, options, warn);
    const labelIds = new Map(labels.map((label, i) => [label, i]));
    const folder = outputs.tokens!;
    await mkdir(folder, { recursive: true });
    const info: TokensInfo = {
      max_length: maxLength,
      labels,
      problem_type: 'single_label_classification',
      model_type: family.type,
      pad_token_id: config.pad_token_id,
      splits: {},
    };
    let done = 0;
    for (const split of splits) {
      const writer = new SplitWriter(folder, split);
      const lengths: number[] = new Array(maxLength + 1).fill(0);
      // The table is ordered by id, and one thread keeps it so.
      const rows = database.stream<{ id: string; text: string; label: string }>(
        `SELECT id, coalesce(${quote(options.text)}::VARCHAR, '') AS text, ${quote(options.label)}::VARCHAR AS label
         FROM ${tableOf(inputs.data)} WHERE split = ${literal(split)}`,
      );
      for await (const chunk of rows) {
        signal.throwIfAborted();
        const tokenized: Tokenized[] = [];
        for (let i = 0; i < chunk.length; i += AT_ONCE)
          tokenized.push(...(await tokenizer.encode(chunk.slice(i, i + AT_ONCE).map(({ text }) => text))));
        for (const [i, { ids, truncated }] of tokenized.entries()) {
          const { id, label } = chunk[i]!;
          await writer.add(id, ids, labelIds.get(label)!, truncated);
          lengths[ids.length]!++;
        }
        done += chunk.length;
        progress(done, total);
      }
      await writer.end();
      info.splits[split] = writer.info;
      log(summary(split, writer.info, lengths));
    }
    await writeTokensInfo(folder, info);
    await copyTokenizer(inputs.model, folder);
    await carryPreprocessing(inputs.data, folder);
  } finally {
    database.close();
  }
}

/** What the table holds, checked before anything long begins. */
async function survey(database: Database, folder: string, { text, label }: Context['options'], warn: Context['warn']) {
  const table = tableOf(folder);
  const columns = await database.columns(table);
  requireColumn(columns, text, 'text');
  const { type } = requireColumn(columns, label, 'label');
  if (!columns.some(({ name }) => name === 'split')) {
    throw new StepError('the data have no column `split`', 'Put a split step before tokenize.');
  }
  const counts = await database.rows<{ split: string | null; label: string | null; rows: number; empty: number }>(
    `SELECT split::VARCHAR AS split, ${quote(label)}::VARCHAR AS label, count(*) AS rows, count(*) - count(${quote(text)}) AS empty
     FROM ${table} GROUP BY ALL ORDER BY ALL`,
  );
  const rows = sum(counts.map((count) => count.rows));
  if (rows === 0) throw new StepError('the data have no rows');
  const unlabelled = sum(counts.filter((count) => count.label === null).map((count) => count.rows));
  if (unlabelled > 0) {
    throw new StepError(
      `${unlabelled} of ${rows} rows have no label`,
      `Leave them out when collecting: \`where: '"${label}" is not null'\`.`,
    );
  }
  const empty = sum(counts.map((count) => count.empty));
  if (empty > 0) warn(`${empty} of ${rows} rows have no text; they are taken as empty texts`);

  const splits = [...new Set(counts.map((count) => count.split ?? ''))];
  const odd = splits.filter((name) => !/^[\w-][\w.-]*$/.test(name));
  if (odd.length > 0) throw new StepError(`"${odd[0]}" cannot name a split`, 'Letters, digits, _ and - can: train, validation, test.');
  if (!splits.includes('train')) throw new StepError('the split "train" has no rows', `The data have ${listed(splits)}.`);
  const trained = new Set(counts.filter((count) => count.split === 'train').map((count) => count.label!));
  if (trained.size < 2) {
    throw new StepError(
      `all rows of the split "train" have one label, "${[...trained][0]}"`,
      'A classifier needs at least two labels to learn from.',
    );
  }
  const labels = [...new Set(counts.map((count) => count.label!))].sort(labelOrder(type));
  const unseen = labels.filter((name) => !trained.has(name));
  if (unseen.length > 0) warn(`no training text has the label ${listed(unseen)}: it cannot be learned`);
  return { rows, labels, splits };
}

/** Labels that are numbers go by value, so that 0, 1, 2 … keep their places; all others by bytes. */
function labelOrder(type: string): (a: string, b: string) => number {
  if (/INT|DOUBLE|FLOAT|DECIMAL/.test(type)) return (a, b) => Number(a) - Number(b);
  return (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function summary(
  split: string,
  { rows, tokens, truncated }: { rows: number; tokens: number; truncated: number },
  lengths: number[],
): string {
  const at = (share: number): number => {
    let seen = 0;
    let length = 0;
    while (length < lengths.length - 1 && seen + lengths[length]! < share * rows) seen += lengths[length++]!;
    return length;
  };
  return `${split}: ${rows} texts, ${tokens} tokens; length median ${at(0.5)}, 95% ${at(0.95)}, longest ${lengths.findLastIndex((n) => n > 0)}; ${percent(truncated / rows)} cut`;
}

/** Texts that are tokenized at once: all of a long text's tokens are made before it is cut. */
const AT_ONCE = 256;

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
const sum = (numbers: number[]): number => numbers.reduce((total, n) => total + n, 0);
