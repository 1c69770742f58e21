/**
 * Converts the rows of a table, split by split, to sequences. The task (steps/ml/tasks) decides how. The tokenizers
 * library tokenizes the next rows on all cores while the previous ones are written.
 */

import { mkdir } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { Database, type Row } from '../ml/data/database.ts';
import { carryPreprocessing, readPreprocessing } from '../ml/data/preprocessing.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { carrySources, type Names, namesOf, tableOf } from '../ml/data/table.ts';
import { type ConfigFile, isGenerating, namedLabels, taskOf } from '../ml/models/config.ts';
import type { Config } from '../ml/models/family.ts';
import { shown } from '../ml/models/json.ts';
import { headOf, readConfig } from '../ml/models/model-folder.ts';
import { familyOf } from '../ml/models/registry.ts';
import { type Encoding, SplitWriter, type TokenColumn, type TokensInfo, writeTokensInfo } from '../ml/models/token-dataset.ts';
import { checkVocabulary, copyTokenizer, eosToken, type Sequence, type Tokenizer } from '../ml/models/tokenizer.ts';
import { inBlocks } from '../ml/tasks/causal-lm.ts';
import { type Encoder, encodingOf, openEncoder, readEncoding } from '../ml/tasks/encoder.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import type { EncodedRow, Input, Preparation, PreparationContext } from '../ml/tasks/task.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

export async function tokenize(context: Context): Promise<void> {
  const { inputs, outputs, log, warn } = context;
  // The tokenizers library reads this when it starts its first thread.
  process.env.RAYON_NUM_THREADS ??= String(context.threads);

  const file = await readConfig(inputs.model);
  const family = familyOf(file);
  const config: Config = family.configure(file);
  const { task } = context.options;
  headOf(family, task, file).parameters(config, 1); // do not tokenize for a model that cannot be trained

  const database = await Database.open();
  try {
    const table = tableOf(inputs.data);
    const columns = await database.columns(table);
    const split = columns.some(({ name }) => name === 'split') ? 'split::VARCHAR' : "'test'";
    const splits = await splitsOf(database, table, split);
    if (split === "'test'") log('the data have no column `split`: all rows belong to the split test');
    // Rows that are only evaluated are encoded as in the model's training.
    const names = await namesOf(inputs.data);
    const options = {
      ...(splits.has('train') ? {} : await optionsOfTraining(inputs.model, file, context.options)),
      ...(names.text !== undefined && { text: names.text }),
      ...context.options,
    };
    const maxLength = maxLengthOf(options, family.maxLength(config));
    const known = splits.has('train') ? undefined : namedLabels(file, task);
    const source: PreparationContext = { database, table, columns, options, config, maxLength, splits, split, known, log, warn };
    const prepared = await taskKind(task).prepare(source);
    const encoding: Encoding = { ...prepared.encoding, fields: prepared.fields, ...filesOf(prepared.fields, names), max_length: maxLength };
    const encoder = await openEncoder({
      folder: inputs.model,
      task,
      encoding,
      preprocessing: await readPreprocessing(inputs.data),
      padTokenId: config.pad_token_id,
    });
    const { tokenizer } = encoder;
    checkVocabulary(tokenizer, config.vocab_size);
    if (isGenerating(task)) await checkEnd(inputs.model, tokenizer, config);
    const folder = outputs.tokens!;
    await mkdir(folder, { recursive: true });
    const typed = prepared.paired && family.typed(config);
    const info: TokensInfo = {
      task,
      ...(prepared.problem ? { problem_type: prepared.problem } : {}),
      ...encodingOf(encoding),
      labels: prepared.labels,
      model_type: family.type,
      pad_token_id: config.pad_token_id,
      ...(encoder.mask && { mask_token_id: encoder.mask.id, special_ids: tokenizer.specialIds }),
      ...(config.decoder_start_token_id !== undefined && { decoder_start_token_id: config.decoder_start_token_id }),
      columns: { input_ids: TOKEN, ...(typed ? { token_type_ids: TOKEN } : {}), ...prepared.columns },
      splits: {},
    };
    const total = [...splits.values()].reduce((sum, rows) => sum + rows, 0);
    let done = 0;
    const kind = prepared.blockSize === undefined ? 'texts' : 'blocks';
    const unknown = new UnknownTokens(tokenizer, kind);
    const writing = { typed, blockSize: prepared.blockSize, maxLength, unknown, signal: context.signal };
    for (const name of splits.keys()) {
      const rows = encoded(database, { table, split, ...prepared }, name, encoder, (read) => {
        done += read;
        context.progress(done, total);
      });
      const writer = new SplitWriter(folder, name, info.columns);
      const lengths = await writeSplit(writer, rows, writing);
      info.splits[name] = writer.info;
      log(summary(name, writer.info, lengths, kind));
    }
    prepared.finish?.();
    if (unknown.tokens > 0) await unknown.report(context);
    await writeTokensInfo(folder, info);
    await copyTokenizer(inputs.model, folder);
    await carryPreprocessing(inputs.data, folder);
    await carrySources(inputs.data, folder);
  } finally {
    database.close();
  }
}

function maxLengthOf(options: Pick<Context['options'], 'max_length' | 'block_size'>, limit: number): number {
  const name = options.block_size === undefined ? 'max_length' : 'block_size';
  const length = options[name] ?? limit;
  if (length > limit)
    throw new StepError(`${name} ${length} exceeds the model's limit of ${limit} tokens`, `Set ${name} to ${limit} or less.`, [name]);
  return length;
}

/** Writes the sequences of one split, and returns how many there are of each length. */
async function writeSplit(
  writer: SplitWriter,
  rows: AsyncGenerator<EncodedRow[]>,
  {
    typed,
    blockSize,
    maxLength,
    unknown,
    signal,
  }: { typed: boolean; blockSize: number | undefined; maxLength: number; unknown: UnknownTokens; signal: AbortSignal },
): Promise<number[]> {
  const lengths: number[] = new Array(maxLength + 1).fill(0);
  for await (const group of blockSize === undefined ? rows : inBlocks(rows, blockSize)) {
    signal.throwIfAborted();
    for (const { example, sequences, truncated } of group) {
      const values = sequences.map(({ sequence, values }) => ({
        ...values,
        input_ids: sequence.ids,
        ...(typed ? { token_type_ids: sequence.typeIds! } : {}),
      }));
      await writer.add(example, values, truncated);
      for (const { input_ids } of values) lengths[input_ids.length]!++;
      unknown.count(sequences);
    }
  }
  await writer.end();
  return lengths;
}

/** Counts what the vocabulary cannot write in the texts that the model reads. It cannot tell such words apart. */
class UnknownTokens {
  /** Unknown tokens, and all tokens except special ones. */
  tokens = 0;
  #all = 0;
  /** Texts or blocks without any other token, and all of them. */
  #texts = 0;
  #allTexts = 0;
  readonly #special: Set<number>;

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly kind: 'texts' | 'blocks',
  ) {
    this.#special = new Set(tokenizer.specialIds);
  }

  /** `sequences`: those of one text or block. */
  count(sequences: EncodedRow['sequences']): void {
    const { unknownId } = this.tokenizer;
    if (unknownId === undefined) return;
    let unknown = 0;
    let known = 0;
    for (const { sequence } of sequences)
      for (const id of sequence.ids) {
        if (id === unknownId) unknown++;
        else if (!this.#special.has(id)) known++;
      }
    this.tokens += unknown;
    this.#all += unknown + known;
    this.#allTexts++;
    if (unknown > 0 && known === 0) this.#texts++;
  }

  async report({ log, warn }: Pick<Context, 'log' | 'warn'>): Promise<void> {
    const token = await this.tokenizer.decodeToken(this.tokenizer.unknownId!);
    const share = this.tokens / this.#all;
    const counted = `${this.tokens} of ${this.#all} tokens (${share < 0.001 ? 'less than 0.1%' : percent(share)}) are ${token}`;
    if (share < MANY_UNKNOWN && this.#texts === 0) return log(counted);
    const alone = this.#texts > 0 ? ` ${this.#texts} of ${this.#allTexts} ${this.kind} contain no other token.` : '';
    warn(
      `${counted}, which stands for words with characters that the vocabulary lacks.${alone} The model cannot tell such words apart: use a model that knows the language of the texts, or remove such characters with \`clean\``,
    );
  }
}

/** From this share on, they are worth a warning. Single emoji or foreign names in English texts are fewer. */
const MANY_UNKNOWN = 0.01;

/** A value for each token. */
const TOKEN: TokenColumn = { per: 'token', dtype: 'int32', width: 1 };

/** The number of rows of each split, in the order of their names. */
async function splitsOf(database: Database, table: string, split: string): Promise<Map<string, number>> {
  const counts = await database.rows<{ split: string | null; rows: number }>(
    `SELECT ${split} AS split, count(*) AS rows FROM ${table} GROUP BY ALL ORDER BY ALL`,
  );
  if (!counts.some(({ rows }) => rows > 0)) throw new StepError('the data have no rows');
  const without = counts.find((one) => one.split === null || one.split === '');
  if (without)
    throw new StepError(
      `${without.rows} rows have no split: the column \`split\` is empty`,
      'Leave them out in collect with `where`, or put a split step before tokenize.',
    );
  const splits = new Map(counts.map(({ split, rows }) => [split!, rows]));
  const odd = [...splits.keys()].find((name) => !/^[\w-][\w.-]*$/.test(name));
  if (odd !== undefined)
    throw new StepError(`"${odd}" is not a valid name of a split`, 'Use letters, digits, _ and -: train, validation, test.');
  return splits;
}

/** The names of the fields' columns in the files that collect read, if it renamed them. */
function filesOf(fields: Record<string, string>, { renamed = {} }: Names): Pick<Encoding, 'files'> {
  const files = Object.entries(fields).filter(([, column]) => Object.hasOwn(renamed, column));
  return files.length > 0 ? { files: Object.fromEntries(files.map(([field, column]) => [field, renamed[column]!])) } : {};
}

/** The options of a model's training that decide how its inputs are encoded, if it was trained for this task. */
async function optionsOfTraining(
  folder: string,
  file: ConfigFile,
  { task, block_size }: Context['options'],
): Promise<Partial<Context['options']>> {
  const { max_length, truncation, stride, prefix, max_target_length } = await readEncoding(folder);
  if (max_length === undefined || taskOf(file, shown(folder)) !== task) return {};
  const options = { ...(block_size === undefined && { max_length }), truncation, stride, prefix, max_target_length };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Checks that tokenizer and model agree on the end-of-text token. Otherwise the model would never stop generating. */
async function checkEnd(folder: string, tokenizer: Tokenizer, { eos_token_id }: Config): Promise<void> {
  const end = await eosToken(folder, tokenizer);
  if (!end) throw new StepError('the tokenizer has no end-of-text token', 'Set it in tokenizer_config.json: "eos_token": "<|endoftext|>".');
  if (end.id !== eos_token_id)
    throw new StepError(
      `config.json has the eos_token_id ${eos_token_id}, but the id of the tokenizer's ${end.token} is ${end.id}`,
      `Write "eos_token_id": ${end.id} in config.json, or use the tokenizer that the model was trained with.`,
    );
}

/** Groups of rows, in order; the next one is tokenized while one is written. */
async function* encoded<R extends Row>(
  database: Database,
  { table, split: column, select, encode }: Preparation<R> & { table: string; split: string },
  split: string,
  encoder: Encoder,
  done: (rows: number) => void,
): AsyncGenerator<EncodedRow[]> {
  // The table is ordered by id, and a single thread keeps the order.
  const rows = database.stream<R>(
    `SELECT id, ${Object.entries(select)
      .map(([name, sql]) => `${sql} AS ${quote(name)}`)
      .join(', ')}
     FROM ${table} WHERE ${column} = ${literal(split)}`,
  );
  let before: Promise<EncodedRow[]> | undefined;
  let groups = 0;
  const finished = async (group: Promise<EncodedRow[]>) => {
    const rows = await group;
    done(rows.length);
    return rows;
  };
  for await (const chunk of rows) {
    for (let i = 0; i < chunk.length; i += AT_ONCE) {
      const group = chunk.slice(i, i + AT_ONCE);
      const next = encode(group, (inputs) => sequencesOf(group, inputs, encoder), encoder.tokenizer);
      next.catch(() => {}); // the error is thrown when its turn comes
      if (before) yield await finished(before);
      before = next;
      if (++groups % COLLECTED_AFTER === 0) collectGarbage();
    }
  }
  if (before) yield await finished(before);
}

/** The sequences of each row's input. @throws StepError that reports the first row whose input cannot be encoded */
async function sequencesOf(rows: Row[], inputs: Input[], encoder: Encoder): Promise<Sequence[][]> {
  return (await encoder.read(inputs)).map((read, i) => {
    if (read instanceof StepError) throw new StepError(`row ${rows[i]!.id}: ${read.message}`, read.hint, read.option);
    return read;
  });
}

/** Groups of rows. The library's encodings lie outside JavaScript's heap, which would let hundreds of megabytes wait to be freed. */
const COLLECTED_AFTER = 32;

function collectGarbage(): void {
  setFlagsFromString('--expose_gc');
  (runInNewContext('gc') as () => void)();
}

/** Rows that are tokenized at once. A long text has all its tokens in memory before it is split. */
const AT_ONCE = 256;

function summary(
  split: string,
  { rows, sequences, tokens, truncated }: { rows: number; sequences: number; tokens: number; truncated: number },
  lengths: number[],
  what: string,
): string {
  const at = (share: number): number => {
    let seen = 0;
    let length = 0;
    while (length < lengths.length - 1 && seen + lengths[length]! < share * sequences) seen += lengths[length++]!;
    return length;
  };
  const of = sequences === rows ? `${rows} ${what}` : `${rows} ${what} in ${sequences} windows`;
  return `${split}: ${of}, ${tokens} tokens; length median ${at(0.5)}, 95% ${at(0.95)}, longest ${lengths.findLastIndex((n) => n > 0)}; ${percent(truncated / rows)} truncated`;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
