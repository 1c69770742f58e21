/** All differences between a cell and its most similar earlier result. Changes no file. */

import type { Cell, Pipeline } from '../cell.ts';
import { InvalidError } from '../errors.ts';
import type { PlannedState } from '../events.ts';
import { type Difference, nearest } from './change-reasons.ts';
import { type Components, codeTexts } from './fingerprint.ts';
import { differencesFrom, type Freshness, subjectOf } from './freshness.ts';
import { planCells } from './plan.ts';
import { openProject, type Project } from './project.ts';
import type { CellRecord } from './records.ts';
import { cellsNamed, unknownCell } from './select-cells.ts';

export interface Explanation {
  cell: string;
  state: PlannedState | 'off';
  why: string;
  /** The state after its last execution or restoration. */
  last?: CellRecord & { run: number };
  /** Unknown while a cell that it reads must run first. */
  fingerprint?: string;
  /** The components of the fingerprint. */
  components?: Components;
  /** Creation time of the result of this fingerprint; absent if there is none. */
  made?: string;
  /** The result that it is compared with; absent if there is none. */
  against?: { fingerprint: string; created: string };
  differences: Difference[];
}

/** `word`: a cell, or a step, which means all its cells. */
export async function explainCells(pipeline: Pipeline, word: string): Promise<Explanation[]> {
  const cells = cellsNamed(pipeline, word);
  if (cells.length === 0) throw new InvalidError([unknownCell(pipeline, word)]);
  const project = openProject(pipeline, true, () => {});
  try {
    const plan = await planCells(pipeline, project, new Set(pipeline.cells.map(({ name }) => name)), false);
    const explanations: Explanation[] = [];
    for (const cell of cells) {
      const { state, why, freshness } = plan.get(cell.name)!;
      const last = project.records.lastEnd(pipeline.file, cell.name);
      const details = freshness ? await comparison(cell, pipeline, project, freshness) : { differences: [] };
      explanations.push({ cell: cell.name, state, why, last, ...details });
    }
    return explanations;
  } finally {
    project.close();
  }
}

async function comparison(
  cell: Cell,
  pipeline: Pipeline,
  project: Project,
  freshness: Freshness,
): Promise<Omit<Explanation, 'cell' | 'state' | 'why'>> {
  const { fingerprint, components } = freshness;
  const history = project.cache.index.history(subjectOf(cell, pipeline), AMONG);
  const last = project.records.lastFingerprint(pipeline.file, cell.name);
  const others = history.filter((result) => result.fingerprint !== fingerprint);
  const result = nearest(others, last, components);
  const now = codeTexts(cell, components);
  const textOf = (hash: string) => now.get(hash) ?? project.records.text(hash);
  return {
    fingerprint,
    components,
    made: project.cache.index.find(fingerprint)?.created,
    against: result && { fingerprint: result.fingerprint, created: result.created },
    differences: result ? await differencesFrom(result, cell, freshness, project, textOf) : [],
  };
}

/** Maximum number of earlier results to compare with. */
const AMONG = 1000;
