/** `tunesmith validate`: reads pipelines and reports all errors in them. */

import { writeFileSync } from 'node:fs';
import { type Diagnostic, InvalidError } from '../contract/errors.ts';
import { printLines } from '../format/terminal-text.ts';
import { count } from '../format/text.ts';
import { pipelineSchema } from '../pipeline/schema.ts';
import { nearPath } from '../report/outcome.ts';
import { refuseSharedOutputs } from '../run/plan.ts';
import { withProject } from '../run/project.ts';
import { choosePipeline, openPipeline, type PipelineOptions } from './pipeline-file.ts';

export async function validate(named: string[], options: PipelineOptions & { json?: boolean }): Promise<void> {
  const files = named.length > 0 ? named : [await choosePipeline(options.file)];
  const mistakes: Diagnostic[] = [];
  const good: string[] = [];
  for (const file of files) {
    try {
      const pipeline = await openPipeline(file, options);
      const { cells } = pipeline;
      await withProject(pipeline, { readOnly: true }, (project) =>
        refuseSharedOutputs(pipeline, project, files.slice(0, files.indexOf(file))),
      );
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

/* `tunesmith schema`: prints the JSON Schema of pipeline files, which editors use to complete and check them. */

export async function schema({ output }: { output?: string }): Promise<void> {
  const text = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  if (output !== undefined) writeFileSync(output, text);
  else process.stdout.write(text);
}
