/**
 * Compares our training with Hugging Face's Trainer: the same weights, mails, tokens, options and threads, alternating,
 * each run in its own process. Prints a Markdown table.
 *
 * npm run bench:train -- [--rows minilm,bert-base] [--rounds 2] [--runtimes onnx] [--threads 2]
 *
 * Needs python3 and PyPI. The pinned packages are installed into bench/.venv, unless TUNESMITH_BENCH_PYTHON points to a
 * Python that has them.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { saveModel, startModel } from '../steps/ml/models/model-folder.ts';
import {
  openSplit,
  readTokensInfo,
  type Split,
  SplitWriter,
  type TokenColumn,
  type TokensInfo,
  type Values,
  writeTokensInfo,
} from '../steps/ml/models/token-dataset.ts';
import { copyTokenizer } from '../steps/ml/models/tokenizer.ts';
import { preparePython } from './python.ts';
import { type Measured, type Row, rows } from './train-shapes.ts';

const root = join(import.meta.dirname, '..');
const work = join(import.meta.dirname, 'work');

/** Tokens of the 4,437 mails of the training split. */
const EPOCH = { 32: 137_000, 128: 503_581, 256: 503_581 };

/** The target column by task, besides the columns of the mails. */
const LABELS: Record<string, Record<string, TokenColumn>> = {
  'text-classification': {},
  'causal-lm': { labels: { per: 'token', dtype: 'int32', width: 1 } },
  seq2seq: { labels: { per: 'target', dtype: 'int32', width: 1 } },
};

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string', default: '' },
    rounds: { type: 'string', default: '2' },
    runtimes: { type: 'string', default: 'onnx' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});

const python = preparePython();
const tokens = prepareTokens();
const wanted = flags.rows.toLowerCase().split(',');
const runtimes = flags.runtimes.split(',');
const lines: string[][] = [];
for (const row of rows.filter(({ name }) => wanted.some((part) => name.toLowerCase().includes(part)))) {
  const data = await subset(tokens[row.length], row);
  const model = await prepareModel(row, data);
  // Measure the peak FLOPS next to each row, because the load on a shared machine varies.
  const peak = Math.max(...[1, 2].map(() => fromPython<{ flops: number }>('peak', model, row, 'random').flops));
  const runs: Record<string, Measured[]> = {};
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const strategy of ['random', 'group_by_length']) push(runs, strategy, fromPython<Measured>(data, model, row, strategy));
    for (const runtime of runtimes) push(runs, runtime, ours(data, model, row, runtime));
  }
  for (const runtime of runtimes) lines.push(line(row, runtime, runs, peak));
  console.error(table(lines)); // so far
}
console.log(`${cpus()[0]!.model.trim()}, ${flags.threads} threads, ${new Date().toISOString().slice(0, 10)}\n`);
console.log(table(lines));

function prepareTokens(): Record<Row['length'], string> {
  execFileSync(
    process.execPath,
    ['--import', 'tsx', join(root, 'engine/cli.ts'), 'run', join(import.meta.dirname, 'train.yaml'), '--plain'],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      cwd: root,
    },
  );
  const folder = (length: number) => join(root, `.tunesmith/outputs/bench-train/tokenize[max_length=${length}]/tokens`);
  return { 32: folder(32), 128: folder(128), 256: folder(128) };
}

/** As many mails as the steps of the row need, in whole batches, so that all runs train on the same mails. */
async function subset(folder: string, row: Row): Promise<string> {
  const { batch, steps, length, task = 'text-classification' } = row;
  const target = join(work, `tokens-${task}-${length}-${batch * steps}`);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  const info = await readTokensInfo(folder);
  const split = await openSplit(folder, info, 'train');
  const columns = { ...info.columns, ...LABELS[task] };
  const writer = new SplitWriter(target, 'train', columns);
  let count = 0;
  for (const values of sequencesOf(split, row)) {
    if (count === batch * steps) break;
    await writer.add({ id: String(count++) }, [values], false);
  }
  await writer.end();
  split.close();
  const own: Partial<TokensInfo> = task === 'text-classification' ? {} : { task, labels: [], pad_token_id: 0, decoder_start_token_id: 0 };
  await writeTokensInfo(target, { ...info, ...own, columns, splits: { train: writer.info } });
  await copyTokenizer(folder, target);
  return target;
}

/** The mails as data for the task. */
function* sequencesOf(split: Split, { task, length, target }: Row): Generator<Values> {
  let joined: number[] = [];
  for (let sequence = 0; sequence < split.sequences; sequence++) {
    const input_ids = new Int32Array(split.length(sequence));
    split.read('input_ids', sequence, input_ids, 0);
    if (task === 'causal-lm') {
      joined.push(...input_ids);
      for (; joined.length >= length; joined = joined.slice(length)) {
        const block = joined.slice(0, length);
        yield { input_ids: block, labels: block };
      }
    } else yield { input_ids, labels: task === 'seq2seq' ? input_ids.subarray(0, target) : split.values('labels', sequence)! };
  }
}

/** A folder with weights, so that all runs start with the same ones. */
async function prepareModel({ config }: Row, data: string): Promise<string> {
  if (!config) return join(work, 'minilm-l6');
  const folder = join(work, 'model');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const { labels, task } = await readTokensInfo(data);
  await saveModel(folder, await startModel(folder, { task, labels, seed: 0, say: () => {} }));
  return folder;
}

function fromPython<T>(data: string, model: string, { batch }: Row, strategy: string): T {
  const script = join(import.meta.dirname, 'train-trainer.py');
  // Some machines set these variables for old libraries, but they slow down current ones.
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...env } = process.env;
  return lastLine(execFileSync(python, [script, data, model, String(batch), strategy, flags.threads], { encoding: 'utf8', env }));
}

function ours(data: string, model: string, { batch }: Row, runtime: string): Measured {
  const script = join(import.meta.dirname, 'train-ours.ts');
  return lastLine(
    execFileSync(process.execPath, ['--import', 'tsx', script, data, model, String(batch), runtime, flags.threads], { encoding: 'utf8' }),
  );
}

function lastLine<T>(said: string): T {
  return JSON.parse(said.trimEnd().split('\n').at(-1)!);
}

function push(runs: Record<string, Measured[]>, name: string, run: Measured): void {
  runs[name] = [...(runs[name] ?? []), run];
}

function line(row: Row, runtime: string, runs: Record<string, Measured[]>, peak: number): string[] {
  const [plain, grouped, own] = ['random', 'group_by_length', runtime].map((name) => {
    const all = runs[name]!;
    const sum = (field: keyof Measured) => all.reduce((total, run) => total + run[field], 0);
    return {
      pace: sum('tokens') / sum('seconds'),
      share: sum('flops') / sum('seconds') / peak,
      bytes: Math.max(...all.map(({ bytes }) => bytes)),
      loss: sum('loss') / all.length,
    };
  }) as [Summary, Summary, Summary];
  const three = (f: (each: Summary) => string) => [plain, grouped, own].map(f);
  return [
    row.name,
    runtime,
    ...three(({ pace }) => Math.round(pace).toLocaleString('en')),
    (own.pace / plain.pace).toFixed(2),
    (own.pace / grouped.pace).toFixed(2),
    three(({ share }) => `${Math.round(100 * share)}%`).join(' / '),
    three(({ bytes }) => (bytes / 1e9).toFixed(2)).join(' / '),
    three(({ loss }) => loss.toFixed(3)).join(' / '),
    three(({ pace }) => Math.round(EPOCH[row.length] / pace).toLocaleString('en')).join(' / '),
    (peak / 1e9).toFixed(0),
  ];
}

interface Summary {
  pace: number;
  share: number;
  bytes: number;
  loss: number;
}

function table(lines: string[][]): string {
  const head = [
    'row',
    'runtime',
    'Trainer, tokens/s',
    'grouped, tokens/s',
    'ours, tokens/s',
    '÷ Trainer',
    '÷ grouped',
    'share of GEMM peak¹',
    'peak memory, GB¹',
    'mean loss¹',
    's an epoch¹',
    'peak, GFLOP/s',
  ];
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n') + '\n\n¹ Trainer / grouped / ours';
}
