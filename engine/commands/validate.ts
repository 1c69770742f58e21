/** `tunesmith validate`: reads pipelines and reports all errors in them. */

import { type Diagnostic, InvalidError } from '../diagnostic.ts';
import { nearPath } from '../report/failure.ts';
import { printLines } from '../report/print.ts';
import { count } from '../report/text.ts';
import { openProject } from '../run/project.ts';
import { refuseSharedOutputs } from '../run/shared-outputs.ts';
import { choosePipeline, openPipeline, type PipelineOptions } from './pipeline-file.ts';

export default async function validate(named: string[], options: PipelineOptions & { json?: boolean }): Promise<void> {
  const files = named.length > 0 ? named : [await choosePipeline(options.file)];
  const mistakes: Diagnostic[] = [];
  const good: string[] = [];
  for (const file of files) {
    try {
      const pipeline = await openPipeline(file, options);
      const { cells } = pipeline;
      const project = openProject(pipeline, true, () => {});
      try {
        refuseSharedOutputs(pipeline, project, files.slice(0, files.indexOf(file)));
      } finally {
        project.close();
      }
      const steps = new Set(cells.map(({ step }) => step)).size;
      good.push(`${nearPath(file)} is valid: ${count(steps, 'step')}, ${count(cells.length, 'cell')}`);
    } catch (error) {
      if (!(error instanceof InvalidError)) throw error;
      mistakes.push(...error.diagnostics);
    }
  }
  if (!options.json && good.length > 0) printLines(good);
  if (mistakes.length > 0) throw new InvalidError(mistakes);
}
