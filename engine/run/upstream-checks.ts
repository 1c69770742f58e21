/** Checks before a long cell starts whether existing outputs already make later cells fail. */

import { builtin } from '../../steps/registry.ts';
import { type Cell, onlyFromSteps, type Pipeline, presentPaths, upstreamOf } from '../contract/cell.ts';
import type { OptionProblem, OptionSchemas, OptionsOf, StepDefinition } from '../contract/step.ts';

interface Waiting {
  cell: Cell;
  /** The cells whose outputs decide. */
  reads: Set<string>;
  check: NonNullable<StepDefinition['foresee']>['check'];
}

/** Finds the cells that will fail. Checks each cell once, as soon as the outputs of all cells that decide exist. */
export type UpstreamChecks = (exists: (cell: string) => boolean) => Promise<{ cell: Cell; at: Cell; problem: OptionProblem }[]>;

export async function upstreamChecks(pending: Cell[], pipeline: Pipeline): Promise<UpstreamChecks> {
  const cells = new Map(pipeline.cells.map((cell) => [cell.name, cell]));
  let waiting: Waiting[] = [];
  for (const cell of pending) {
    if (cell.action.kind !== 'step' || !('builtin' in cell.action.module)) continue;
    const foresee = (await builtin(cell.action.module.builtin))?.foresee;
    const reads = new Set(foresee?.reads.flatMap((path) => behind(cell, path.split('.'), cells)));
    if (foresee && reads.size > 0) waiting.push({ cell, reads, check: foresee.check });
  }
  return async (exists) => {
    const ready = waiting.filter(({ reads }) => [...reads].every(exists));
    waiting = waiting.filter((one) => !ready.includes(one));
    const found = ready.map(async ({ cell, check }) => {
      const { options } = cell.action as { options: OptionsOf<OptionSchemas> };
      const paths = presentPaths(cell, cells, exists, pipeline.folder);
      const [problem] = await check(options, upstreamOf(cell, cells, exists), paths, onlyFromSteps(cell));
      return problem ? [{ cell, at: cells.get(problem.upstream ?? cell.name)!, problem }] : [];
    });
    return (await Promise.all(found)).flat();
  };
}

/** The cells that a path of inputs leads to. */
function behind(cell: Cell, [role, ...rest]: string[], cells: ReadonlyMap<string, Cell>): string[] {
  const sources = cell.inputs[role!]?.sources ?? [];
  const above = [...new Set(sources.flatMap((source) => (source.kind === 'output' ? [source.cell] : [])))];
  return rest.length === 0 ? above : above.flatMap((name) => behind(cells.get(name)!, rest, cells));
}
