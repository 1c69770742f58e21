/** The cells that a cell's inputs come from, in the form that `foresee` of a step receives. */
import type { Upstream } from '../step.ts';
import type { Cell } from './pipeline.ts';

/** `exists`: whether a cell's outputs exist. Cells further up are built on demand. */
export function upstreamOf(cell: Cell, cells: ReadonlyMap<string, Cell>, exists: (cell: string) => boolean): Record<string, Upstream[]> {
  return Object.fromEntries(
    Object.entries(cell.inputs).map(([role, { sources }]) => [
      role,
      sources.flatMap((source): Upstream[] => {
        const above = source.kind === 'output' ? cells.get(source.cell) : undefined;
        if (source.kind !== 'output' || !above) return [];
        const { action, outputs } = above;
        return [
          {
            cell: above.name,
            ...(action.kind === 'step' && { uses: action.uses }),
            options: action.kind === 'step' ? action.options : {},
            output: source.output,
            ...(exists(above.name) && { path: outputs[source.output]!.path }),
            get inputs() {
              return upstreamOf(above, cells, exists);
            },
          },
        ];
      }),
    ]),
  );
}
