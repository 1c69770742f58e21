/** Selects: the metrics of all candidates → the best by one metric → a copy of the output that belongs to it. */
import { constants } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { type CellOrigin, type ContextOf, type Json, StepError } from '../../engine/contract/step.ts';
import { distinct } from '../ml/metrics/limits.ts';
import { numbersIn, readMetricsFile } from '../ml/metrics/metrics-file.ts';
import type step from './step.ts';

interface Candidate {
  origin: CellOrigin;
  /** The contents of the metrics file. */
  report: Json;
  value: number;
}

export async function select({ options, inputs, origins, outputs, warn, metric, result }: ContextOf<typeof step>): Promise<void> {
  const name = (options.maximize ?? options.minimize)!;
  const sign = options.maximize === undefined ? -1 : 1;
  const from: string[] = inputs.from;
  const candidates: Candidate[] = [];
  for (const [i, file] of from.entries()) {
    const origin = origins.from?.[i];
    if (!origin) throw new StepError(`from: no step made ${file}`, 'Give `from` the metrics of a step: ${{ steps.evaluate[*].metrics }}.');
    const report = await readMetricsFile(file, 'from');
    candidates.push({
      origin,
      report,
      value: metricOf(report, name, origin.cell, options.maximize === undefined ? 'minimize' : 'maximize'),
    });
  }

  for (const { origin } of candidates.filter((c) => Number.isNaN(c.value)))
    warn(`${origin.cell}: ${name} is not a number; this candidate is left out`);
  const valid = candidates.filter((c) => !Number.isNaN(c.value));
  if (valid.length === 0)
    throw new StepError(`no candidate has a numeric ${name}`, 'See the metrics of the cells above: `tunesmith show`.');
  if (valid.length > 1 && valid.every(({ report }) => isOfTest(report)))
    warn(
      `the candidates were evaluated on the split test, so the figure of the best one is too optimistic. Compare them with \`split: validation\`, and evaluate only the chosen one on test`,
    );
  // Candidates are ordered by the names of their cells; the first of equal ones wins.
  const best = valid.reduce((a, b) => (sign * b.value > sign * a.value ? b : a));

  const picked = pickFor(best.origin, origins.pick ?? []);
  // Links of a hub's cache would not outlive it.
  await cp(inputs.pick[picked]!, outputs.pick!, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
  const table = candidates.map(({ origin, value }) => ({
    cell: origin.cell,
    matrix: origin.matrix,
    [name]: Number.isNaN(value) ? null : value,
  }));
  const ties = valid.filter((candidate) => candidate !== best && candidate.value === best.value).map(({ origin }) => origin.cell);
  const choice = {
    [sign > 0 ? 'maximize' : 'minimize']: name,
    value: best.value,
    cell: best.origin.cell,
    matrix: best.origin.matrix,
    picked: origins.pick![picked]!.cell,
    ties,
    candidates: table,
    chosen: best.report,
  };
  await writeFile(outputs.choice!, `${JSON.stringify(choice, null, 2)}\n`);
  metric(name, best.value, { better: sign > 0 ? 'higher' : 'lower' });
  result(`chose ${origins.pick![picked]!.cell}: ${reason(best, valid, ties, { name, highest: sign > 0 })}`);
}

function reason(best: Candidate, valid: Candidate[], ties: string[], { name, highest }: { name: string; highest: boolean }): string {
  const is = (value: string) => `${name} ${value} is the ${highest ? 'highest' : 'lowest'} of ${valid.length}`;
  if (ties.length > 0) {
    const who = ties.length > 3 ? `${ties.length} others have it` : `${ties.join(', ')} ${ties.length === 1 ? 'has' : 'have'} it`;
    return `${is(distinct(best.value))}; ${who} too, so the first is taken`;
  }
  const others = valid.filter((candidate) => candidate !== best);
  if (others.length === 0) return is(distinct(best.value));
  const next = others.reduce((a, b) => (Math.abs(b.value - best.value) < Math.abs(a.value - best.value) ? b : a));
  return `${is(distinct(best.value, next.value))}; the next is ${distinct(next.value, best.value)}, of ${next.origin.cell}`;
}

/** The candidate that belongs to the best metrics: the only one that agrees in every dimension that both cells have. */
function pickFor(best: CellOrigin, picks: (CellOrigin | null)[]): number {
  const fits = picks.flatMap((pick, i) =>
    pick &&
    Object.entries(pick.matrix).every(([k, v]) => !Object.hasOwn(best.matrix, k) || JSON.stringify(best.matrix[k]) === JSON.stringify(v))
      ? [i]
      : [],
  );
  if (fits.length === 1) return fits[0]!;
  const names = picks.flatMap((pick) => pick?.cell ?? []).join(', ') || 'no output of a step';
  throw new StepError(
    fits.length === 0
      ? `no output in \`pick\` belongs to ${best.cell}: \`pick\` has ${names}`
      : `${fits.length} outputs in \`pick\` belong to ${best.cell}: ${fits.map((i) => picks[i]!.cell).join(', ')}`,
    '`pick` must list a step that the cells of `from` depend on, so that their matrix dimensions identify the output.',
  );
}

const isOfTest = (report: Json): boolean => (report as { split?: Json } | null)?.split === 'test';

/** The metric in a report of evaluate (below `metrics`), or anywhere in other JSON by its dotted path. */
function metricOf(report: Json, name: string, cell: string, option: string): number {
  const figures = numbersIn(report);
  for (const path of [`metrics.${name}`, name]) if (figures.has(path)) return figures.get(path)!;
  const known = [...figures.keys()].map((path) => path.replace(/^metrics\./, ''));
  const meant = known.find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  throw new StepError(
    `${cell} has no metric "${name}"`,
    known.length > 0 ? `${meant ? `Did you mean ${meant}? ` : ''}It has ${known.join(', ')}.` : 'Its file contains no number.',
    [option],
  );
}
