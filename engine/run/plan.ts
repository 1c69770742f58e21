/** What a run would do, and why. Changes no file, folder or timestamp. */
import type { PlannedState } from '../events.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { openProject } from './project.ts';
import { type Selection, selectCells } from './selection.ts';
import { refuseSharedOutputs } from './shared-outputs.ts';
import { survey } from './survey.ts';

export type Plan = Record<string, { state: PlannedState; why: string }>;

/** The plan, without cells whose `when` is false. */
export async function planPipeline(pipeline: Pipeline, options: Selection & { force?: boolean }): Promise<Plan> {
  const selected = selectCells(pipeline, options);
  const project = openProject(pipeline, true, () => {});
  try {
    refuseSharedOutputs(pipeline, project);
    const plan: Plan = Object.create(null);
    for (const [name, { state, why }] of await survey(pipeline, project, selected, options.force ?? false)) {
      if (selected.has(name) && state !== 'off') plan[name] = { state, why };
    }
    return plan;
  } finally {
    project.close();
  }
}
