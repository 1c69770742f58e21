/**
 * Compares our tokenization with Python's: the same Parquet table, tokenizer and lengths, alternating, each run in its
 * own process. Checks that the ids are equal. Prints a Markdown table.
 *
 * npm run bench:tokenize -- [--rows mails,pairs] [--rounds 3]
 *
 * Needs python3 and PyPI. The pinned packages are installed into bench/.venv, unless TUNESMITH_BENCH_PYTHON points to a
 * Python that has them.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Database } from '../steps/ml/data/database.ts';
import { literal } from '../steps/ml/data/sql.ts';
import { tableOf } from '../steps/ml/data/table.ts';
import { readSafetensors, toInt32 } from '../steps/ml/models/safetensors.ts';
import { preparePython } from './python.ts';

export interface Measured {
  /** Time from the start of the work to the closed files, without the start of Node or Python. */
  seconds: number;
  /** Peak memory of the process. */
  bytes: number;
}

const root = join(import.meta.dirname, '..');
const work = join(import.meta.dirname, 'work');
const model = join(work, 'minilm-l6');

/** `sql`: the query that makes the table from the mails. */
const ROWS = [
  { name: 'mails', max_length: 128, sql: 'SELECT id, split, label, text FROM mails' },
  { name: 'mails, long', max_length: 512, sql: 'SELECT id, split, label, text FROM mails' },
  {
    name: 'pairs',
    max_length: 128,
    text_pair: 'text_pair',
    sql: `SELECT id, split, label, text[:200] AS text, text[201:1000] AS text_pair FROM mails`,
  },
  {
    name: 'pairs, long',
    max_length: 512,
    text_pair: 'text_pair',
    sql: `SELECT id, split, label, text, coalesce(lead(text) OVER (ORDER BY id), text) AS text_pair FROM mails`,
  },
  ...[7, 14].map((times) => ({
    name: `mails, ${times} times`,
    max_length: 128,
    sql: `SELECT n::VARCHAR || id AS id, split, label, text FROM mails, (SELECT unnest(range(${times})) AS n)`,
  })),
];

const { values: flags } = parseArgs({ options: { rows: { type: 'string', default: '' }, rounds: { type: 'string', default: '3' } } });

const python = preparePython('pyarrow==26.0.1');
const cli = [process.execPath, '--import', 'tsx', join(root, 'engine/cli.ts')] as const;
const cells = ['run', join(import.meta.dirname, 'train.yaml'), '--until', 'weights', 'split', '--plain'];
execFileSync(cli[0], [...cli.slice(1), ...cells], { stdio: ['ignore', 'ignore', 'inherit'], cwd: root });

const lines: string[][] = [];
for (const row of ROWS.filter(({ name }) => flags.rows.split(',').some((part) => name.includes(part)))) {
  const data = join(work, 'tokenize-data');
  const rows = await makeTable(row.sql, data);
  const { name, sql: _, ...options } = row;
  const [ours, theirs]: [Measured[], Measured[]] = [[], []];
  const [a, b] = ['ours', 'python'].map((by) => join(work, `tokenize-${by}`)) as [string, string];
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const folder of [a, b]) rmSync(folder, { recursive: true, force: true });
    const given = (tokens: string) => [data, model, tokens, JSON.stringify(options)];
    theirs.push(measured(python, join(import.meta.dirname, 'tokenize-theirs.py'), ...given(b)));
    ours.push(measured(process.execPath, '--import', 'tsx', join(import.meta.dirname, 'tokenize-ours.ts'), ...given(a)));
  }
  lines.push([name, String(rows), String(row.max_length), ...figures(ours, theirs), await sameIds(a, b)]);
  console.error(lines.at(-1)!.join(' | ')); // so far
}
console.log(`${cpus()[0]!.model.trim()}, ${availableParallelism()} threads, ${new Date().toISOString().slice(0, 10)}\n`);
const head = ['texts', 'rows', 'max_length', 'Python, s', 'ours, s', 'times as fast', 'peak memory, MB: Python / ours', 'ids'];
console.log([head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n'));

async function makeTable(sql: string, folder: string): Promise<number> {
  mkdirSync(folder, { recursive: true });
  const database = await Database.open();
  try {
    const mails = tableOf(join(root, '.tunesmith/outputs/bench-train/split/data'));
    const file = join(folder, 'data.parquet');
    await database.run(
      `COPY (WITH mails AS (FROM ${mails}) ${sql} ORDER BY id) TO ${literal(file)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 10240)`,
    );
    return (await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM ${tableOf(folder)}`)).rows;
  } finally {
    database.close();
  }
}

function measured(...[program, ...args]: [string, ...string[]]): Measured {
  return JSON.parse(execFileSync(program, args, { encoding: 'utf8' }).trimEnd().split('\n').at(-1)!);
}

/** The fastest round, because load on a shared machine only adds time. */
function figures(ours: Measured[], theirs: Measured[]): string[] {
  const [own, python] = [ours, theirs].map((all) => Math.min(...all.map(({ seconds }) => seconds))) as [number, number];
  const [ownBytes, pythonBytes] = [ours, theirs].map((all) => Math.max(...all.map(({ bytes }) => bytes))) as [number, number];
  const megabytes = [pythonBytes, ownBytes].map((bytes) => Math.round(bytes / 1e6));
  return [python.toFixed(2), own.toFixed(2), (python / own).toFixed(2), megabytes.join(' / ')];
}

async function sameIds(a: string, b: string): Promise<string> {
  const [ours, theirs] = await Promise.all([a, b].map(allIds));
  const same = Object.keys(ours!).every((split) => ours![split]!.equals(theirs![split]!));
  if (!same) throw new Error('ours and Python made different ids');
  return 'equal';
}

/** The ids of each split, from all its shards. */
async function allIds(folder: string): Promise<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  const shards = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  for (const shard of shards.sort()) {
    const split = shard.slice(0, shard.lastIndexOf('-'));
    const ids = toInt32((await readSafetensors(join(folder, shard))).input_ids!);
    found[split] = Buffer.concat([found[split] ?? Buffer.alloc(0), Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength)]);
  }
  return found;
}
