/**
 * `tunesmith models [MODEL…]`: lists the models of the package and well-known ones of the hub, with the memory and the time that
 * their training takes on this machine, and recommends one.
 */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { builtin, choices } from '../../steps/registry.ts';
import { usage } from '../contract/errors.ts';
import type { StepContext } from '../contract/step.ts';
import { ownFolder } from '../files/packages.ts';
import { tableLines } from '../format/table.ts';
import { colorsFor, printableJson, printLines } from '../format/terminal-text.ts';
import { bytes, count, duration, oneLine, thousands, wrap } from '../format/text.ts';
import { modelFolder } from './model.ts';

type Choices = Awaited<ReturnType<Awaited<ReturnType<typeof choices>>['choose']>>;
type Request = Parameters<Awaited<ReturnType<typeof choices>>['choose']>[0];

interface Flags {
  task?: Request['task'];
  data?: string;
  column?: string;
  language?: string;
  epochs?: number;
  batchSize?: number;
  maxLength?: number;
  maxTime: number;
  calibrate?: boolean;
  json?: boolean;
}

export async function models(given: string[], flags: Flags): Promise<void> {
  const { data, json = false, maxTime, calibrate = false } = flags;
  if (flags.column !== undefined && data === undefined) throw usage('--column needs --data', 'tunesmith models --data FILE --column NAME');
  const task = flags.task ?? (data === undefined ? undefined : 'text-classification');
  const defaults = (await builtin('train'))!.options!;
  const { enum: tasks } = defaults.task as { enum: readonly string[] };
  if (task !== undefined && !tasks.includes(task)) throw usage(`unknown task ${JSON.stringify(task)}`, `Tasks: ${tasks.join(', ')}.`);
  const { epochs = defaults.epochs!.default as number, batchSize = defaults.batch_size!.default as number } = flags;
  const folders = Object.fromEntries(await Promise.all(given.map(async (model) => [model, await modelFolder(model)] as const)));
  const work = mkdtempSync(join(tmpdir(), 'tunesmith-models-'));
  try {
    const { choose } = await choices();
    const found = await choose({
      ...flags,
      task,
      data: data === undefined ? undefined : await collected(data, work),
      box: join(ownFolder(), 'pipelines/models'),
      folders,
      epochs,
      batchSize,
      maxSeconds: maxTime / 1000,
      threads: availableParallelism(),
      kept: join(userCaches(), 'tunesmith', 'training-speed.json'),
      again: calibrate,
      say,
    });
    const settings = { epochs, batch_size: batchSize };
    if (json) printLines([printableJson({ ...(task && { task }), ...settings, ...found })]);
    else printLines(lines(found, { ...flags, task, ...settings, data }));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Progress, on stderr because stdout holds the table. */
function say(message: string): void {
  printLines([message], process.stderr);
}

function userCaches(): string {
  const { XDG_CACHE_HOME } = process.env;
  return XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(homedir(), '.cache');
}

/** Reads the user's file with the step `collect`, with its default options. */
async function collected(file: string, work: string): Promise<string> {
  const path = resolve(file);
  if (!existsSync(path)) throw usage(`${file} does not exist`, 'Give a file or folder of texts that collect can read.');
  const collect = (await builtin('collect'))!;
  const options = Object.entries(collect.options ?? {}).flatMap(([name, { default: value }]) =>
    value === undefined ? [] : [[name, value]],
  );
  const data = join(work, 'data');
  const silent = () => {};
  const context: StepContext = {
    options: Object.fromEntries(options),
    inputs: { files: [path] },
    outputs: { data },
    origins: {},
    addresses: {},
    names: {},
    repositories: {},
    leftOut: [],
    checkpoints: join(work, 'checkpoints'),
    folder: resolve('.'),
    cell: { cell: 'collect', matrix: {} },
    signal: new AbortController().signal,
    seed: 0,
    threads: availableParallelism(),
    log: silent,
    warn: say,
    result: silent,
    progress: silent,
    metric: silent,
  };
  await collect.run(context);
  return data;
}

interface Settings extends Pick<Flags, 'task' | 'data' | 'maxTime'> {
  epochs: number;
  batch_size: number;
}

function lines({ models, recommended, rows, memory_limit, runtime, notes }: Choices, settings: Settings): string[] {
  const { bold, green, dim } = colorsFor(process.stdout);
  const columns = process.stdout.columns || 80;
  const remarks = [...new Set(models.flatMap(({ note }) => (note ? [note] : [])))];
  const heads = ['model', 'memory', 'time', 'fits', 'note', 'parameters', 'size', 'licence', 'family', 'languages'];
  const contents = models.map((one) => [
    one.model,
    bytes(one.memory_bytes),
    duration(one.seconds),
    one.fits ? 'yes' : 'no',
    one.note ? String(remarks.indexOf(one.note) + 1) : '',
    thousands(one.parameters),
    one.bytes === 0 ? '–' : bytes(one.bytes),
    one.licence,
    one.family,
    one.languages,
  ]);
  const right = (column: number) => ['memory', 'time', 'parameters', 'size'].includes(heads[column]!);
  const paint = (text: string, row: number, column: number) => {
    if (column === 0 && models[row]!.model === recommended?.model) return green(text);
    return models[row]!.fits ? text : dim(text);
  };
  const about = [
    ...remarks.map((note, i) => `note ${i + 1}: ${note}`),
    ...(settings.task === undefined ? tasksOfFamilies(models) : []),
    estimated(models, rows, settings),
    `This machine: ${bytes(memory_limit)} of memory; ${runtime}.`,
    ...notes,
  ];
  const advice = recommended
    ? `${bold('recommended:')} ${recommended.model}: ${recommended.reason} (--max-time ${duration(settings.maxTime / 1000)})`
    : 'No pre-trained model fits. Lower --batch-size or --max-length.';
  return [
    ...tableLines(heads, contents, { columns, cuts: false, right, heading: bold, paint }),
    '',
    ...[...about, '', advice].flatMap((line) => wrap(oneLine(line), columns, '  ')),
  ];
}

/** One line for all families with the same tasks. */
function tasksOfFamilies(models: Choices['models']): string[] {
  const families = new Map<string, Set<string>>();
  for (const { tasks, family } of models) {
    const key = tasks.join(', ');
    families.set(key, (families.get(key) ?? new Set()).add(family));
  }
  return [...families].map(([tasks, names]) => `tasks of ${[...names].join(', ')}: ${tasks}`);
}

function estimated(models: Choices['models'], { train }: Choices['rows'], { task, data, epochs, batch_size }: Settings): string {
  const lengths = [...new Set(models.map(({ max_length }) => max_length))].join(' or ');
  const texts =
    data === undefined ? `${thousands(train)} texts of ${lengths} tokens` : `${thousands(train)} texts of at most ${lengths} tokens`;
  return `Estimates for ${task ?? 'the first task of each model'}: ${count(epochs, 'epoch')} over ${texts}, in batches of ${batch_size}.`;
}
