/** Requires: metrics files and limits → a verdict → the same model, or an error that lists every missed requirement. */

import { constants } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { basename, dirname, extname } from 'node:path';
import { type ContextOf, nearest, StepError } from '../../engine/contract/step.ts';
import { distinct, meets, parseLimit } from '../ml/metrics/limits.ts';
import { type Figure, type Figures, figuresIn, readMetricsFile } from '../ml/metrics/metrics-file.ts';
import { METRIC_NAMES } from '../ml/tasks/metrics.ts';
import type { Comparison } from './better-than.ts';
import { historyReport } from './history.ts';
import type step from './step.ts';
import type { RequiredLimits } from './step.ts';

type Context = ContextOf<typeof step>;

interface Requirement {
  metric: string;
  /** The file that has the metric. */
  from: string;
  limit: string;
  /** Null if it is undefined. */
  value: number | null;
  undefined?: string;
  passed: boolean;
  /** How far the value is from the limit; null if the value is undefined. */
  missed_by?: number | null;
}

export async function require(context: Context): Promise<void> {
  const { options, inputs, outputs, result, metric } = context;
  const files = await readFiles(context);
  const { better_than, ...limits } = options.limits as RequiredLimits;
  const requirements = Object.entries(limits).map(([name, limit]) => judge(name, limit, files));
  const model = nameOf(inputs.model, context);
  const comparison = better_than && (await compared(context, model));
  const missed = [
    ...requirements.filter(({ passed }) => !passed).map(missedLimit),
    ...(comparison?.passed === false ? [notBetter(comparison)] : []),
  ];
  const all = { passed: missed.length === 0, model, requirements, ...(comparison && { better_than: comparison }) };
  await writeFile(outputs.verdict!, `${JSON.stringify(all, null, 2)}\n`);
  if (comparison && comparison.difference !== null)
    metric(`difference.${comparison.metric}`, comparison.difference, { better: comparison.better, ...comparison.interval });
  if (missed.length > 0) throw failure(missed, requirements, comparison, context);
  // Links of a hub's cache would not outlive it.
  await cp(inputs.model, outputs.model!, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
  result(summary(requirements, comparison));
}

/** The test needs a tensor library, which limits do not. */
async function compared(context: Context, model: string): Promise<Comparison> {
  const { compareModels } = await import('./better-than.ts');
  return compareModels(context, { model, other: nameOf(context.inputs['limits.better_than.model']!, context) });
}

/* The metrics, by name. */

interface MetricsFile {
  /** How messages and the verdict call it. */
  name: string;
  /** What may stand before the name of a metric. */
  qualifiers: string[];
  figures: Figures;
}

async function readFiles(context: Context): Promise<MetricsFile[]> {
  const files: MetricsFile[] = [];
  for (const path of context.inputs.metrics ?? []) {
    const name = nameOf(path, context);
    const qualifiers = new Set([name, name.split('[', 1)[0]!, basename(name, extname(name)), ...inFolder(name)]);
    const report = (await historyReport(path, { model: context.inputs.model, name })) ?? (await readMetricsFile(path, 'metrics'));
    files.push({ name, qualifiers: [...qualifiers], figures: figuresIn(report) });
  }
  return files;
}

/** The end of a path with the name of its folder, and this name. Outputs that are given by their path differ in the folder of the step. */
function inFolder(name: string): string[] {
  const folder = basename(dirname(name));
  return /^[.]*$/.test(folder) ? [] : [folder, `${folder}/${basename(name)}`];
}

/** The name of a cell that made the file or folder, its address, or its path, as they are in the fingerprint. */
function nameOf(path: string, { names, addresses }: Pick<Context, 'names' | 'addresses'>): string {
  const name = addresses[path] ?? names[path] ?? path;
  return /^steps\.(.*)\.[^.\]]*$/s.exec(name)?.[1] ?? name;
}

function judge(name: string, limit: string, files: MetricsFile[]): Requirement {
  const { figure, from } = find(name, files);
  const { value, why } = figure;
  const about = { metric: name, from, limit: limit.trim(), value };
  if (value === null) return { ...about, undefined: why!, passed: false, missed_by: null };
  const passed = meets(value, limit);
  return { ...about, passed, ...(!passed && { missed_by: Math.abs(value - parseLimit(limit).bound) }) };
}

/** The metric of this name in one of the files; otherwise the metric of the file whose name stands before it. */
function find(name: string, files: MetricsFile[]): { figure: Figure; from: string } {
  for (const kind of ['own', 'others'] as const) {
    const named = files.map((file) => ({ file, from: file.name, metric: name, figure: file.figures[kind].get(name) }));
    const qualified = files.flatMap((file) => {
      const rests = file.qualifiers.filter((own) => name.startsWith(`${own}.`)).map((own) => name.slice(own.length + 1));
      const metric = rests.find((rest) => file.figures[kind].has(rest));
      return metric === undefined ? [] : [{ file, from: file.name, metric, figure: file.figures[kind].get(metric) }];
    });
    for (const found of [named.filter(({ figure }) => figure), qualified]) {
      if (found.length > 1) throw ambiguous(name, found);
      if (found.length === 1) return { figure: found[0]!.figure!, from: found[0]!.from };
    }
  }
  throw unknown(name, files);
}

function ambiguous(name: string, found: { file: MetricsFile; from: string; metric: string }[]): StepError {
  const shortest = ({ file }: { file: MetricsFile }) => {
    if (!file.name.includes('/')) return file.name;
    const others = found.flatMap((one) => (one.file === file ? [] : one.file.qualifiers));
    const own = file.qualifiers.filter((qualifier) => !others.includes(qualifier));
    return own.sort((a, b) => a.length - b.length)[0] ?? file.name;
  };
  return new StepError(
    `${found.length} files of \`metrics\` have ${name}: ${found.map(({ from }) => from).join(', ')}`,
    `Write which one is meant: ${found.map((one) => `"${shortest(one)}.${one.metric}"`).join(' or ')}.`,
    ['limits', name],
  );
}

function unknown(name: string, files: MetricsFile[]): StepError {
  const known = files.map(({ name: file, figures }) => ({ file, names: [...figures.own.keys()] }));
  const meant = nearest(name, [...known.flatMap(({ names }) => names), ...files.flatMap(({ figures }) => [...figures.others.keys()])]);
  const lists = known.map(({ file, names }) => `${file} has ${names.length === 0 ? 'no metrics' : names.join(', ')}.`);
  return new StepError(
    `${name} was not computed: no file of \`metrics\` has it`,
    [...(meant === undefined ? [] : [`Did you mean ${meant}?`]), ...lists, ...whereToAdd(name)].join(' '),
    ['limits', name],
  );
}

/** The figures of a training. */
const OF_HISTORY = /^(generalization_gap|train_loss|validation_.*)$/;

/** The option that makes a step compute a metric. */
function whereToAdd(name: string): string[] {
  const end = /\.(lower|upper)$/.test(name);
  const base = name.replace(/\.(lower|upper)$/, '');
  if (base.startsWith('gap.')) return [`For ${base}, add \`${base.slice(4)}\` to \`slices\` of evaluate.`];
  if (base.startsWith('fairness.')) return ['Set `fairness` of evaluate.'];
  if (base.startsWith('difference.')) return ['Set `compare` of evaluate.'];
  if (base.startsWith('counterfactual.')) return ['Set `counterfactual` of evaluate.'];
  if (OF_HISTORY.test(base)) return ['Give `metrics` also the `history` of the train step.'];
  if (base.startsWith('failures.')) return ['Give `metrics` the report of the behavior step with this test.'];
  if (!METRIC_NAMES.includes(base)) return [];
  return [`Add ${base} to \`metrics\` of evaluate${end ? ', whose `intervals` must not be false' : ''}.`];
}

/* What is reported. */

function missedLimit({ metric, from, limit, value, undefined: why }: Requirement): string {
  if (value === null) return `${metric} (${from}) must be ${limit}, but is undefined: ${why}`;
  const { sign, bound } = parseLimit(limit);
  const by = Math.abs(value - bound);
  const amount = by === 0 ? '' : `: missed by ${Number(by.toPrecision(4))}`;
  return `${metric} (${from}) is ${distinct(value, bound)}, but must be ${sign} ${bound}${amount}`;
}

function notBetter({ model, why, ...measured }: Comparison): string {
  return `the model is not better than ${model}: ${inWords(measured)}; ${why}`;
}

function inWords({ metric, value, other, difference, interval, p, limit, test }: Omit<Comparison, 'model' | 'why'>): string {
  const shown = (number: number | null) => (number === null ? 'n/a' : String(Number(number.toPrecision(4))));
  const range = interval ? ` [${shown(interval.low)}, ${shown(interval.high)}]` : '';
  const { name } = test as { name: string };
  return `${metric} is ${shown(value)} and was ${shown(other)}, difference ${shown(difference)}${range}, p ${shown(p)} (${NAMES[name]}, at most ${limit})`;
}

const NAMES: Record<string, string> = { mcnemar: "McNemar's test", 'paired bootstrap': 'paired bootstrap' };

function failure(missed: string[], requirements: Requirement[], comparison: Comparison | undefined, { cell }: Context): StepError {
  const count = requirements.length + (comparison ? 1 : 0);
  const limits = requirements.filter(({ passed }) => !passed).map(({ metric }) => metric);
  const ofLimits = limits.length === 1 ? ['limits', limits[0]!] : ['limits'];
  const option = comparison?.passed === false ? (limits.length === 0 ? ['limits', 'better_than'] : ['limits']) : ofLimits;
  return new StepError(
    `${count === 1 ? 'the requirement is' : `${missed.length} of ${count} requirements are`} missed: ${missed.join('; ')}`,
    `The verdict stays in .tunesmith/failed/: \`tunesmith show .tunesmith/failed/${cell.cell.includes('[') ? 'CELL' : cell.cell}/verdict\`.`,
    option,
  );
}

function summary(requirements: Requirement[], comparison: Comparison | undefined): string {
  const met = requirements.map(({ metric, value, limit }) => `${metric} ${distinct(value!, parseLimit(limit).bound)} ${limit}`);
  return [
    ...(met.length > 0 ? [`limits met: ${met.join(', ')}`] : []),
    ...(comparison ? [`better than ${comparison.model}: ${inWords(comparison)}`] : []),
  ].join('; ');
}
