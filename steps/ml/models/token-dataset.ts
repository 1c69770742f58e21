/**
 * The tokens artifact (docs/artifacts.md), which tokenize writes and train and evaluate read.
 *
 * An example is a row of the table; a sequence is the model's input of one forward pass. Usually there is one
 * sequence per example, but the windows of a long text are several. The model's inputs are in safetensors shards;
 * what only evaluate needs, such as the id, is in a file with one line per example.
 */

import { closeSync, createReadStream, createWriteStream, existsSync, openSync, readSync, type WriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { type Json, StepError } from '../../../engine/contract/step.ts';
import type { ProblemType, Task } from './config.ts';

import { readJson } from './json.ts';
import { float32, int32, int64, openSafetensors, type StoredTensor, toFloat32, toInt32, toInt64, writeSafetensors } from './safetensors.ts';
import type { Truncation } from './tokenizer.ts';

/** The contents of tokens.json. */
export interface TokensInfo extends Encoding {
  task: Task;
  /** For text-classification. */
  problem_type?: ProblemType;
  /** Names, in the order of the model's outputs. */
  labels: string[];
  model_type: string;
  pad_token_id: number;
  /** For seq2seq: the token before the first token of a target. */
  decoder_start_token_id?: number;
  /** For masked-lm: the mask token, and the special tokens, which are never masked. */
  mask_token_id?: number;
  special_ids?: number[];
  /** The columns of a sequence, `input_ids` first. For seq2seq the `labels` are the target's ids. */
  columns: Record<string, TokenColumn>;
  splits: Record<string, SplitInfo>;
}

interface SplitInfo {
  /** Rows of the table. */
  rows: number;
  sequences: number;
  tokens: number;
  /** For seq2seq: tokens of all targets. */
  target_tokens?: number;
  /** The number of truncated examples. */
  truncated: number;
  highest_id: number;
  shards: string[];
}

/** A value for each token, or for each token of the target, or `width` values for each sequence. */
export interface TokenColumn {
  per: 'token' | 'target' | 'sequence';
  dtype: 'int32' | 'float32';
  width: number;
}

/** The two kinds of tokens; a sequence may have different numbers of them. */
type Kind = 'token' | 'target';

/** Their offsets in a shard, by the name of the tensor. */
const OFFSETS: Record<Kind, string> = { token: 'offsets', target: 'target_offsets' };

/** One sequence: values by column. */
export type Values = Record<string, ArrayLike<number>>;

/** One line of a split's examples. */
export interface Example {
  id: string;
  /** The number of sequences; 1 by default. */
  sequences?: number;
  /** What the task needs to evaluate an answer. */
  [field: string]: Json | undefined;
}

/** @throws StepError if the folder is not from a tokenize step, or from another version's */
export async function readTokensInfo(folder: string): Promise<TokensInfo> {
  const file = path.join(folder, 'tokens.json');
  if (!existsSync(file)) throw new StepError(`${path.basename(folder)} contains no tokens.json`, 'Give the `tokens` of a tokenize step.');
  const info = (await readJson(file)) as unknown as TokensInfo;
  if (!info.columns || !info.splits)
    throw new StepError(`${path.basename(folder)}/tokens.json is from another version of tunesmith, or incomplete`, 'Tokenize again.');
  return info;
}

export const writeTokensInfo = (folder: string, info: TokensInfo): Promise<void> =>
  writeFile(path.join(folder, 'tokens.json'), `${JSON.stringify(info, null, 2)}\n`);

/** Opens a split. If it is missing or has no rows, the error lists the others. */
export async function openSplit(folder: string, info: TokensInfo, name: string): Promise<Split> {
  const counts = requireSplit(info, name);
  const shards: Shard[] = [];
  const kinds = new Map(Object.entries(info.columns).flatMap(([name, { per }]) => (per === 'sequence' ? [] : [[name, per] as const])));
  const offsets = byKind(kinds, () => new Float64Array(counts.sequences + 1));
  const values = new Map<string, { width: number; parts: (Int32Array | Float32Array)[] }>();
  let sequence = 0;
  for (const file of counts.shards) {
    const stored = await openSafetensors(path.join(folder, file));
    try {
      const columns = new Map<string, number>();
      const first: Shard['first'] = {};
      let sequences = 0;
      for (const [kind, all] of Object.entries(offsets) as [Kind, Float64Array][]) {
        const own = toInt64(await stored.read(OFFSETS[kind]));
        sequences = own.length - 1;
        first[kind] = all[sequence]!;
        for (let i = 0; i < own.length; i++) all[sequence + i] = first[kind] + Number(own[i]);
      }
      for (const [column, { shape, position }] of stored.tensors) {
        if (Object.values(OFFSETS).includes(column)) continue;
        // The values stay in the file until a batch needs them.
        if (kinds.has(column)) columns.set(column, position);
        else {
          const known = values.get(column) ?? { width: shape[1] ?? 1, parts: [] };
          known.parts.push(numbersOf(await stored.read(column)));
          values.set(column, known);
        }
      }
      sequence += sequences;
      shards.push({ file: path.join(folder, file), end: sequence, first, columns });
    } finally {
      await stored.close();
    }
  }
  return new Split(counts, { offsets, kinds, shards, values, examples: path.join(folder, `${name}-examples.jsonl`) });
}

const byKind = <T>(kinds: ReadonlyMap<string, Kind>, make: () => T): { token: T; target?: T } =>
  [...kinds.values()].includes('target') ? { token: make(), target: make() } : { token: make() };

interface Shard {
  file: string;
  /** Sequences before this index are in it, or in the shards before it. */
  end: number;
  /** The index of its first tokens, counted over all shards. */
  first: { [kind in Kind]?: number };
  /** The offset of the values of a column in the file. */
  columns: Map<string, number>;
}

interface Stored {
  /** Where the tokens of each sequence begin, counted over all shards. */
  offsets: { token: Float64Array; target?: Float64Array };
  /** For columns with a value for each token: the kind of tokens. */
  kinds: ReadonlyMap<string, Kind>;
  shards: Shard[];
  values: Map<string, { width: number; parts: (Int32Array | Float32Array)[] }>;
  /** The path of the file. */
  examples: string;
}

export class Split {
  readonly rows: number;
  readonly sequences: number;
  readonly tokens: number;
  readonly highestId: number;
  readonly #stored: Stored;
  readonly #files = new Map<string, number>();

  constructor({ rows, sequences, tokens, highest_id }: Omit<SplitInfo, 'shards' | 'truncated'>, stored: Stored) {
    this.rows = rows;
    this.sequences = sequences;
    this.tokens = tokens;
    this.highestId = highest_id;
    this.#stored = stored;
  }

  /** Tokens of a sequence, or of its target; 0 if there are no targets. */
  length(sequence: number, kind: Kind = 'token'): number {
    const offsets = this.#stored.offsets[kind];
    return offsets ? offsets[sequence + 1]! - offsets[sequence]! : 0;
  }

  /** For a column with a value for each token: the kind of tokens. */
  kindOf(column: string): Kind {
    return this.#stored.kinds.get(column)!;
  }

  /** Whether the column has a value for each token. */
  has(column: string): boolean {
    return this.#stored.shards[0]!.columns.has(column);
  }

  /**
   * Copies a column's values of a sequence's tokens from the file (in fact from the system's cache) directly into a
   * batch: no other copy is kept, so a split of any size needs the same memory.
   */
  read(column: string, sequence: number, into: Int32Array, at: number): void {
    const { shards, offsets } = this.#stored;
    const kind = this.kindOf(column);
    const shard = shards.find(({ end }) => sequence < end)!;
    const position = shard.columns.get(column)! + 4 * (offsets[kind]![sequence]! - shard.first[kind]!);
    const bytes = 4 * this.length(sequence, kind);
    for (let done = 0; done < bytes; ) {
      const read = readSync(this.#open(shard.file), into, 4 * at + done, bytes - done, position + done);
      if (read === 0) throw new StepError(`${path.basename(shard.file)} ended while it was being read`);
      done += read;
    }
  }

  /** A column's values of a sequence: `width` of them; undefined if there is no such column. */
  values(column: string, sequence: number): Int32Array | Float32Array | undefined {
    const stored = this.#stored.values.get(column);
    if (!stored) return undefined;
    const { width, parts } = stored;
    let at = sequence * width;
    for (const part of parts) {
      if (at < part.length) return part.subarray(at, at + width);
      at -= part.length;
    }
    return undefined;
  }

  /** In the order of their sequences. */
  async *examples(): AsyncGenerator<Example> {
    for await (const line of createInterface({ input: createReadStream(this.#stored.examples), crlfDelay: Number.POSITIVE_INFINITY }))
      yield JSON.parse(line);
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  #open(file: string): number {
    let opened = this.#files.get(file);
    if (opened === undefined) {
      opened = openSync(file, 'r');
      this.#files.set(file, opened);
    }
    return opened;
  }
}

function requireSplit(info: TokensInfo, name: string): SplitInfo {
  const split = info.splits[name];
  if (split && split.rows > 0) return split;
  const others = Object.entries(info.splits).filter(([, { rows }]) => rows > 0);
  throw new StepError(
    split ? `the split "${name}" has no rows` : `the tokens have no split "${name}"`,
    `They have ${others.map(([other, { rows }]) => `${other} (${rows} rows)`).join(', ') || 'none'}.`,
  );
}

/** Writes one split, example by example, in shards, so that memory stays constant. */
export class SplitWriter {
  readonly info: SplitInfo = { rows: 0, sequences: 0, tokens: 0, truncated: 0, highest_id: 0, shards: [] };
  readonly #folder: string;
  readonly #name: string;
  readonly #columns: Record<string, TokenColumn>;
  readonly #most: number;
  readonly #examples: WriteStream;
  #rows: string[] = [];
  #offsets: { [kind in Kind]: bigint[] } = { token: [0n], target: [0n] };
  #pending = new Map<string, Growing>();

  constructor(folder: string, name: string, columns: Record<string, TokenColumn>, shardTokens = SHARD_TOKENS) {
    this.#folder = folder;
    this.#name = name;
    this.#columns = columns;
    this.#most = shardTokens;
    this.#examples = createWriteStream(path.join(folder, `${name}-examples.jsonl`));
  }

  /** Each sequence has the values of every column. */
  async add({ sequences: _, ...example }: Example, sequences: Values[], truncated: boolean): Promise<void> {
    for (const values of sequences) {
      const ids = values.input_ids!;
      const filled = this.#filled('token') + this.#filled('target');
      const target = Object.entries(this.#columns).find(([, { per }]) => per === 'target')?.[0];
      const targetIds = target === undefined ? [] : values[target]!;
      if (filled > 0 && filled + ids.length + targetIds.length > this.#most) await this.#flush();
      for (const [column, { dtype }] of Object.entries(this.#columns)) {
        const pending = this.#pending.get(column) ?? new Growing(dtype);
        this.#pending.set(column, pending);
        pending.add(values[column]!);
      }
      for (const all of [ids, targetIds])
        for (let i = 0; i < all.length; i++) if (all[i]! > this.info.highest_id) this.info.highest_id = all[i]!;
      this.#offsets.token.push(BigInt(this.#filled('token') + ids.length));
      this.#offsets.target.push(BigInt(this.#filled('target') + targetIds.length));
      this.info.sequences++;
      this.info.tokens += ids.length;
      if (target !== undefined) this.info.target_tokens = (this.info.target_tokens ?? 0) + targetIds.length;
    }
    this.info.rows++;
    if (truncated) this.info.truncated++;
    this.#rows.push(`${JSON.stringify(sequences.length === 1 ? example : { ...example, sequences: sequences.length })}\n`);
    if (this.#rows.length >= 1000) await this.#writeExamples();
  }

  async end(): Promise<void> {
    await this.#flush();
    await this.#writeExamples();
    this.#examples.end();
    await finished(this.#examples);
  }

  /** Tokens that wait for the next shard. */
  #filled(kind: Kind): number {
    return Number(this.#offsets[kind].at(-1));
  }

  async #writeExamples(): Promise<void> {
    const text = this.#rows.join('');
    this.#rows = [];
    await new Promise<void>((resolve, reject) => this.#examples.write(text, (error) => (error ? reject(error) : resolve())));
  }

  async #flush(): Promise<void> {
    const file = `${this.#name}-${String(this.info.shards.length).padStart(5, '0')}.safetensors`;
    const sequences = this.#offsets.token.length - 1;
    const tensors: Record<string, StoredTensor> = {};
    for (const kind of ['token', 'target'] as const)
      if (kind === 'token' || Object.values(this.#columns).some(({ per }) => per === kind))
        tensors[OFFSETS[kind]] = int64(BigInt64Array.from(this.#offsets[kind]), [sequences + 1]);
    for (const [column, { per, dtype, width }] of Object.entries(this.#columns)) {
      const data = (this.#pending.get(column) ?? new Growing(dtype)).taken();
      const shape = per !== 'sequence' ? [this.#filled(per)] : width === 1 ? [sequences] : [sequences, width];
      const stored = data instanceof Int32Array ? int32(data, shape) : float32(data, shape);
      tensors[column] = stored;
    }
    await writeSafetensors(path.join(this.#folder, file), tensors);
    this.info.shards.push(file);
    this.#offsets = { token: [0n], target: [0n] };
  }
}

/** A growing typed array that keeps its capacity from shard to shard. */
class Growing {
  #data: Int32Array | Float32Array;
  #used = 0;

  constructor(dtype: TokenColumn['dtype']) {
    this.#data = dtype === 'int32' ? new Int32Array(1 << 12) : new Float32Array(1 << 12);
  }

  add(values: ArrayLike<number>): void {
    const needed = this.#used + values.length;
    if (needed > this.#data.length) {
      const grown = new (this.#data.constructor as Int32ArrayConstructor)(Math.max(needed, 2 * this.#data.length));
      grown.set(this.#data.subarray(0, this.#used));
      this.#data = grown;
    }
    this.#data.set(values, this.#used);
    this.#used = needed;
  }

  /** A view, valid until the next `add`. */
  taken(): Int32Array | Float32Array {
    const view = this.#data.subarray(0, this.#used);
    this.#used = 0;
    return view;
  }
}

const numbersOf = (stored: StoredTensor): Int32Array | Float32Array => (stored.dtype === 'F32' ? toFloat32(stored)! : toInt32(stored));

/** 16 MB of ids. */
const SHARD_TOKENS = 1 << 22;

export interface Encoding {
  /** The column of the training data for each field. Only training.json of older versions lacks it. */
  fields?: Record<string, string>;
  /** The names of the fields' columns in the collected files, if they were renamed. */
  files?: Record<string, string>;
  /** Inputs are pairs of texts. */
  pairs?: true;
  /** The maximum number of tokens of a sequence, including special ones. */
  max_length: number;
  /** Which text of a pair is truncated; default `longest_first`. */
  truncation?: Truncation;
  /** Tokens that neighbouring windows of a context share. */
  stride?: number;
  /** The prefix of each text of seq2seq. */
  prefix?: string;
  /** The maximum number of tokens of a target of seq2seq, which is also the default length of generated texts. */
  max_target_length?: number;
}
