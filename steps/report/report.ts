/**
 * Makes a report from the outputs of other steps: one HTML file that needs nothing else, or Markdown with SVG files. The step
 * `report` and the command of this name use it.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ContextOf, type Json, type StepContext, StepError } from '../../engine/contract/step.ts';
import { readEncoding } from '../ml/tasks/encoder.ts';
import { type Artifact, type EvaluationFile, type Material, oneLine, opened, type Role, readMaterial } from './artifacts.ts';
import { behaviorSection } from './behavior.ts';
import { calibrationSection, confusionSection, curvesSection } from './classification.ts';
import { type ConfusedGroup, confusionOf, groupsOf } from './confusion.ts';
import { checksSection, dataSection } from './data.ts';
import type { Report, Section } from './document.ts';
import { explainer } from './explain.ts';
import { groupSections } from './groups.ts';
import { htmlOf } from './html.ts';
import { inOrder } from './judgements.ts';
import { markdownOf } from './markdown.ts';
import { mistakesSection } from './mistakes.ts';
import { numbersSection } from './numbers.ts';
import { PredictionTable } from './predictions.ts';
import { type RunFacts, runSections, sweepSection } from './run.ts';
import { type Continuation, continuations, samplesSection } from './samples.ts';
import type step from './step.ts';
import { chosenEvaluations, summarySection } from './summary.ts';
import { trainingSection } from './training.ts';
import { runWithoutTexts, withoutTexts } from './without-texts.ts';

export interface ReportRequest extends Pick<StepContext, 'threads' | 'signal'> {
  title: string;
  format: 'html' | 'md';
  artifacts: Artifact[];
  /** How many of the worst mistakes are shown. */
  examples: number;
  runtime: 'auto' | 'onnx' | 'tensorflow' | 'eager';
  run?: RunFacts;
  /** What the caller could not find. What else is missing is added. */
  missing: string[];
}

export { isGate, roleOf } from './artifacts.ts';

/** The files of a report, by name; the first one is the report itself. `pictures`: the name of the folder of pictures. */
export async function makeReport(request: ReportRequest, pictures = 'pictures'): Promise<Map<string, string>> {
  const report = await reportOf(request);
  if (request.format === 'html') return new Map([['report.html', htmlOf(report)]]);
  const { text, pictures: files } = markdownOf(report, pictures.split('/').map(inAddress).join('/'));
  return new Map([['report.md', text], ...[...files].map(([name, svg]) => [join(pictures, name), svg] as const)]);
}

/** Also parentheses end an address in Markdown. */
const inAddress = (name: string): string => encodeURIComponent(name).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);

async function reportOf(request: ReportRequest): Promise<Report> {
  const read = await readMaterial(request.artifacts);
  const material = request.examples > 0 ? read : withoutTexts(read);
  const run = request.examples > 0 || !request.run ? request.run : runWithoutTexts(request.run);
  const chosen = chosenEvaluations(material.evaluations);
  const [main] = chosen;
  const { missing } = request;
  missing.push(...material.missing);
  const parts = await predictionSections(request, main, material, missing);
  const made = (what: string, make: () => Section | Section[] | undefined) => guarded(what, request, async () => [make() ?? []].flat());
  const found = await Promise.all([
    made('The summary', () => summarySection(chosen, material, run)),
    made('The training', () => trainingSection(material.histories)),
    [parts.confusion, parts.numbers, parts.curves, parts.calibration],
    made('The groups of rows', () => (main ? groupSections(main) : [])),
    made('The behaviour tests', () => behaviorSection(inOrder(material.behavior, main))),
    [parts.mistakes, parts.samples],
    made('The sweep', () => sweepSection(run, material.evaluations)),
    made('The data', () => dataSection(material.cards, material.checks)),
    made('The data checks', () => checksSection(inOrder(material.checks, main))),
    run ? runSections(run) : [],
  ]);
  const sections = found
    .flatMap((own) => own ?? [])
    .filter((section): section is Section => section !== undefined && section.blocks.length > 0);
  if (!main && material.baselines.length === 0) missing.push('There are no metrics: no step `evaluate` is part of this report.');
  const about = [...(run?.about ?? []), ...(request.examples > 0 ? [] : ['This report has no texts of the data.'])];
  return { title: request.title, about, missing: [...new Set(missing)], sections };
}

interface PredictionSections {
  confusion?: Section | undefined;
  numbers?: Section | undefined;
  curves?: Section | undefined;
  calibration?: Section | undefined;
  mistakes?: Section | undefined;
  samples?: Section | undefined;
}

/** What needs the rows of the predictions, of the most important evaluation. */
async function predictionSections(
  request: ReportRequest,
  main: EvaluationFile | undefined,
  material: Material,
  missing: string[],
): Promise<PredictionSections> {
  const predictions = predictionsOf(main, material.predictions);
  if (main && !predictions) missing.push(`There are no predictions of ${main.name}, so there are no curves and no mistakes.`);
  const model = modelOf(predictions ?? main, material.models);
  const tables = tablesFor(predictions ?? main, material).reverse();
  const rows =
    predictions &&
    (await guarded(`The predictions ${predictions.name}`, request, async () => {
      const fields = model ? Object.values((await readEncoding(await opened(model))).fields ?? {}) : [];
      return PredictionTable.open(predictions.path, tables, fields);
    }));
  try {
    const confusion = await guarded('The confusion matrix', request, () => confusionOf(main, rows));
    const words = rows?.kind === 'tags';
    const groups = rows && confusion && request.examples > 0 ? groupsOf(confusion, { words }) : [];
    const examples = new Set(groups.map(({ id }) => id));
    const written = model && request.examples > 0 ? await writtenTexts(model, { rows, tables, split: main?.split }, request, missing) : [];
    return {
      confusion: confusion && confusionSection(confusion, main, { examples, words }),
      numbers: rows && (await guarded('The predicted numbers', request, () => numbersSection(rows))),
      curves: rows && confusion && (await guarded('The curves', request, () => curvesSection(rows, confusion, main))),
      calibration: await guarded('The calibration', request, () => calibrationSection(main, rows, inOrder(material.calibrations, main))),
      mistakes: rows && (await guarded('The mistakes', request, () => mistakes(rows, groups, model, request, missing))),
      samples: await guarded('The samples', request, () =>
        samplesSection(request.examples > 0 ? rows : undefined, written, material.samples),
      ),
    };
  } finally {
    rows?.close();
  }
}

/** Without attributions if the model cannot explain these texts. */
async function mistakes(
  rows: PredictionTable,
  groups: ConfusedGroup[],
  model: Artifact | undefined,
  request: ReportRequest,
  missing: string[],
) {
  const options = { rows, groups, examples: request.examples, explain: undefined };
  if (rows.texts.length === 0 || !model || request.examples === 0) return mistakesSection(options);
  try {
    return await mistakesSection({ ...options, explain: await explainer(await opened(model), request) });
  } catch (error) {
    request.signal.throwIfAborted();
    missing.push(`There are no token attributions of ${model.name}: ${oneLine(error)}`);
    return mistakesSection(options);
  }
}

/** What a causal language model writes; nothing if it cannot. */
async function writtenTexts(
  model: Artifact,
  source: Parameters<typeof continuations>[1],
  request: ReportRequest,
  missing: string[],
): Promise<Continuation[]> {
  try {
    return (await continuations(await opened(model), source, request)) ?? [];
  } catch (error) {
    request.signal.throwIfAborted();
    missing.push(`There are no generated samples of ${model.name}: ${oneLine(error)}`);
    return [];
  }
}

/** Reports an error instead of failing: the rest of the report is still useful. */
async function guarded<T>(
  what: string,
  { examples, missing }: Pick<ReportRequest, 'examples' | 'missing'>,
  make: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await make();
  } catch (error) {
    missing.push(
      `${what} cannot be shown${examples > 0 ? `: ${oneLine(error)}` : '. The reason is left out, because it may quote the data.'}`,
    );
    return undefined;
  }
}

/**
 * The predictions that an evaluation measured: those of the same cell, or of one that the cell reads. Those of another cell belong to
 * another evaluation. If a cell is not known, they are those with the same matrix values, or the only ones.
 */
function predictionsOf(main: EvaluationFile | undefined, all: readonly Artifact[]): Artifact | undefined {
  if (!main) return all[0];
  const { cell: own, above = [] } = main;
  const known = own === undefined ? undefined : [own, ...above].map((cell) => all.find((one) => one.cell === cell)).find(Boolean);
  const others = own === undefined ? all : all.filter(({ cell }) => cell === undefined);
  return known ?? sameMatrix(main, others) ?? (others.length === 1 ? others[0] : undefined);
}

/** The model that made them: the nearest above, otherwise one with the same matrix values, otherwise the only one. */
function modelOf(of: Artifact | undefined, models: readonly Artifact[]): Artifact | undefined {
  if (!of) return models[0];
  for (const above of of.above ?? []) {
    const model = models.find(({ cell }) => cell === above);
    if (model) return model;
  }
  if (of.above) return undefined;
  return sameMatrix(of, models) ?? (models.length === 1 ? models[0] : undefined);
}

const sameMatrix = ({ matrix }: Artifact, all: readonly Artifact[]): Artifact | undefined => {
  if (Object.keys(matrix).length === 0) return undefined;
  return all.find((other) => Object.entries(matrix).every(([key, value]) => JSON.stringify(other.matrix[key]) === JSON.stringify(value)));
};

/** Tables that may have the texts of these predictions, the last one first. */
function tablesFor(of: Artifact | undefined, { cards }: Material): string[] {
  const above = of?.above;
  const tables = above ? cards.filter(({ cell }) => cell !== undefined && above.includes(cell)) : cards;
  return tables.map(({ path }) => path);
}

/* The step. */

const ROLES: Record<Role, true> = {
  metrics: true,
  predictions: true,
  baselines: true,
  history: true,
  model: true,
  data: true,
  checks: true,
  behavior: true,
  calibration: true,
  verdict: true,
  samples: true,
};

export async function report(context: ContextOf<typeof step>): Promise<void> {
  const { options, outputs, threads, signal, warn, result } = context;
  const artifacts = artifactsOf(context);
  if (artifacts.length === 0)
    throw new StepError('the report has no input', 'Give at least one: `metrics: ${{ steps.evaluate.metrics }}`.');
  const missing: string[] = [];
  const files = await makeReport({
    title: options.title ?? 'Report',
    format: options.format,
    artifacts,
    examples: options.examples,
    runtime: options.runtime,
    threads,
    signal,
    missing,
  });
  for (const text of missing) warn(text);
  await writeReport(files, outputs.report);
  const [[name, text]] = [...files] as [[string, string]];
  result(`${name}, ${Math.round(Buffer.byteLength(text) / 1000).toLocaleString('en-US')} KB`);
}

/** Writes the files of a report into a folder. */
async function writeReport(files: ReadonlyMap<string, string>, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of files) {
    if (name.includes('/')) await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}

function artifactsOf({ inputs, origins, names }: ContextOf<typeof step>): Artifact[] {
  const given = inputs as unknown as Record<string, string[] | undefined>;
  return (Object.keys(ROLES) as Role[]).flatMap((role) =>
    (given[role] ?? []).map((path, i): Artifact => {
      const origin = origins[role]?.[i];
      const matrix: Record<string, Json> = origin?.matrix ?? {};
      return { role, path, name: origin ? `${origin.cell}.${role}` : (names[path] ?? role), matrix, ...(origin && { cell: origin.cell }) };
    }),
  );
}
