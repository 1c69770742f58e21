/** Everything in which a cell differs from the earlier result that is nearest to it. Touches nothing. */
import { InvalidError } from '../diagnostic.ts';
import type { PlannedState } from '../events.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { Components } from './fingerprint.ts';
import { compareWithHistory } from './look.ts';
import { openProject } from './project.ts';
import { cellsNamed, unknownCell } from './selection.ts';
import { survey } from './survey.ts';
import type { Difference } from './why.ts';

export interface Explanation {
  cell: string;
  state: PlannedState | 'off';
  why: string;
  /** Unknown while a cell above must run first. */
  fingerprint?: string;
  /** What the fingerprint is made of. */
  components?: Components;
  /** The earlier result that it is compared with; absent where it has none. */
  against?: { fingerprint: string; created: string };
  differences: Difference[];
}

/** `word`: a cell, or a step with a single cell. */
export async function explainCell(pipeline: Pipeline, word: string): Promise<Explanation> {
  const cells = cellsNamed(pipeline, word);
  const cell = cells[0];
  if (!cell) throw new InvalidError([unknownCell(pipeline, word)]);
  if (cells.length > 1) {
    const message = `${word} has ${cells.length} cells: name one`;
    throw new InvalidError([{ file: '', line: 0, column: 0, length: 0, message, hint: cells.map(({ name }) => name).join('\n') }]);
  }
  const project = openProject(pipeline, true, () => {});
  try {
    const all = new Set(pipeline.cells.map(({ name }) => name));
    const { state, why, look } = (await survey(pipeline, project, all, false)).get(cell.name)!;
    if (!look) return { cell: cell.name, state, why, differences: [] };
    const { fingerprint, components } = look;
    const comparison = await compareWithHistory(cell, pipeline, project, look);
    return {
      cell: cell.name,
      state,
      why,
      fingerprint,
      components,
      against: comparison && { fingerprint: comparison.result.fingerprint, created: comparison.result.created },
      differences: comparison?.differences ?? [],
    };
  } finally {
    project.close();
  }
}
