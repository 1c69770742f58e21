/** `tunesmith status`: prints which cells are fresh and why the others are not. Changes no file. */

import type { Pipeline } from '../contract/cell.ts';
import { colorsFor, printable, printableJson, printableName, printLines } from '../format/terminal-text.ts';
import { planLines } from '../report/plan-table.ts';
import { type Plan, planPipeline } from '../run/plan.ts';
import { openPipeline, type PipelineOptions } from './pipeline-file.ts';

export async function status(file: string | undefined, options: PipelineOptions & { check?: boolean; json?: boolean }): Promise<number> {
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

/* `tunesmith graph`: draws the pipeline. */

export async function graph(file: string | undefined, options: PipelineOptions & { format: 'mermaid' | 'dot' | 'svg' }): Promise<void> {
  const { graphOf, ...formats } = await import('../report/graph.ts');
  process.stdout.write(printable(formats[options.format](graphOf(await openPipeline(file, options)))));
}
