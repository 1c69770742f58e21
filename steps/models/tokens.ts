/** The tokens artifact (docs/artifacts.md): what tokenize writes, and train and evaluate read. */
import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { readJson } from './json.ts';
import { int32, int64, readSafetensors, toInt32, toInt64, writeSafetensors } from './safetensors.ts';

/** tokens.json. */
export interface TokensInfo {
  max_length: number;
  /** Names, sorted; a row's label is an index into them. */
  labels: string[];
  problem_type: 'single_label_classification';
  model_type: string;
  pad_token_id: number;
  splits: Record<string, SplitInfo>;
}

export interface SplitInfo {
  rows: number;
  tokens: number;
  truncated: number;
  shards: string[];
}

/** A split in memory: the ids of row i are `inputIds.subarray(offsets[i], offsets[i + 1])`. */
export interface Split {
  ids: string[];
  inputIds: Int32Array;
  offsets: Float64Array;
  labels: Int32Array;
}

export async function readTokensInfo(folder: string): Promise<TokensInfo> {
  const file = path.join(folder, 'tokens.json');
  if (!existsSync(file)) throw new StepError(`${path.basename(folder)} holds no tokens.json`, 'Give the `tokens` of a tokenize step.');
  return (await readJson(file)) as unknown as TokensInfo;
}

export const writeTokensInfo = (folder: string, info: TokensInfo): Promise<void> =>
  writeFile(path.join(folder, 'tokens.json'), `${JSON.stringify(info, null, 2)}\n`);

/** A split that is missing or has no rows is an error that names those there are. */
export async function readSplit(folder: string, info: TokensInfo, name: string): Promise<Split> {
  const { rows, tokens, shards } = requireSplit(info, name);
  const split: Split = {
    ids: JSON.parse(await readFile(path.join(folder, `${name}-ids.json`), 'utf8')),
    inputIds: new Int32Array(tokens),
    offsets: new Float64Array(rows + 1),
    labels: new Int32Array(rows),
  };
  let row = 0;
  let token = 0;
  for (const shard of shards) {
    const tensors = await readSafetensors(path.join(folder, shard));
    const offsets = toInt64(tensors.offsets!);
    split.inputIds.set(toInt32(tensors.input_ids!), token);
    split.labels.set(toInt32(tensors.labels!), row);
    for (let i = 0; i < offsets.length; i++) split.offsets[row + i] = token + Number(offsets[i]);
    row += offsets.length - 1;
    token += Number(offsets.at(-1));
  }
  return split;
}

export function requireSplit(info: TokensInfo, name: string): SplitInfo {
  const split = info.splits[name];
  if (split && split.rows > 0) return split;
  const others = Object.entries(info.splits).filter(([, { rows }]) => rows > 0);
  throw new StepError(
    split ? `the split "${name}" has no rows` : `the tokens have no split "${name}"`,
    `They have ${others.map(([other, { rows }]) => `${other} (${rows} rows)`).join(', ') || 'none'}.`,
  );
}

/** Writes one split, row by row, in shards, so that memory stays flat. */
export class SplitWriter {
  readonly info: SplitInfo = { rows: 0, tokens: 0, truncated: 0, shards: [] };
  readonly #folder: string;
  readonly #name: string;
  #inputIds: Int32Array;
  #filled = 0;
  #offsets: bigint[] = [0n];
  #labels: number[] = [];
  #ids = '';

  constructor(folder: string, name: string, shardTokens = SHARD_TOKENS) {
    this.#inputIds = new Int32Array(shardTokens);
    this.#folder = folder;
    this.#name = name;
  }

  async add(id: string, ids: number[], label: number, truncated: boolean): Promise<void> {
    if (this.#filled > 0 && this.#filled + ids.length > this.#inputIds.length) await this.#flush();
    // A single row may be longer than a shard.
    if (ids.length > this.#inputIds.length) this.#inputIds = new Int32Array(ids.length);
    this.#inputIds.set(ids, this.#filled);
    this.#filled += ids.length;
    this.#offsets.push(BigInt(this.#filled));
    this.#labels.push(label);
    this.#ids += `${this.info.rows === 0 ? '[' : ','}\n${JSON.stringify(id)}`;
    this.info.rows++;
    this.info.tokens += ids.length;
    if (truncated) this.info.truncated++;
  }

  async end(): Promise<void> {
    this.#ids += '\n]\n';
    await this.#flush();
  }

  async #flush(): Promise<void> {
    await appendFile(path.join(this.#folder, `${this.#name}-ids.json`), this.#ids);
    this.#ids = '';
    const file = `${this.#name}-${String(this.info.shards.length).padStart(5, '0')}.safetensors`;
    await writeSafetensors(path.join(this.#folder, file), {
      input_ids: int32(this.#inputIds.subarray(0, this.#filled), [this.#filled]),
      offsets: int64(BigInt64Array.from(this.#offsets), [this.#offsets.length]),
      labels: int32(Int32Array.from(this.#labels), [this.#labels.length]),
    });
    this.info.shards.push(file);
    this.#filled = 0;
    this.#offsets = [0n];
    this.#labels = [];
  }
}

/** 16 MB of ids. */
const SHARD_TOKENS = 1 << 22;
