/** `tunesmith status`: prints which cells are fresh and why the others are not. Changes no file. */

import type { Pipeline } from '../pipeline/pipeline.ts';
import { printableJson, printableName } from '../printable.ts';
import { colorsFor } from '../report/colors.ts';
import { planLines } from '../report/plan.ts';
import { printLines } from '../report/print.ts';
import { type Plan, planPipeline } from '../run/plan.ts';
import { openPipeline, type PipelineOptions } from './pipeline-file.ts';

export default async function status(
  file: string | undefined,
  options: PipelineOptions & { check?: boolean; json?: boolean },
): Promise<number> {
  const pipeline = await openPipeline(file, options);
  const plan = await planPipeline(pipeline, {});
  printPlan(pipeline, plan, options.json);
  return options.check && Object.values(plan).some(({ state }) => state !== 'fresh') ? 1 : 0;
}

/** Also used by `run --dry-run`. */
export function printPlan(pipeline: Pipeline, cells: Plan, json = false): void {
  const lines = json
    ? [printableJson({ type: 'plan', cells })]
    : planLines(printableName(pipeline.name), cells, process.stdout.columns || Number.POSITIVE_INFINITY, colorsFor(process.stdout));
  printLines(lines);
}
