/** Outputs of a past run, copied from the cache, even if the pipeline makes other ones now. */
import { join } from 'node:path';
import { compareBytes, fileName } from '../pipeline/cell-name.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { openProject } from './project.ts';

export interface PastOutput {
  cell: string;
  output: string;
  /** Path of the copy. */
  path: string;
}

export interface PastOutputs {
  found: PastOutput[];
  /** Matching cells whose results are no longer stored. */
  gone: string[];
}

/** `wanted`: selects cells and outputs. `into`: a folder for the copies. */
export async function pastOutputs(
  pipeline: Pick<Pipeline, 'root'>,
  run: number,
  wanted: (cell: string, output?: string) => boolean,
  into: string,
): Promise<PastOutputs> {
  const project = openProject(pipeline, false, () => {});
  try {
    const past: PastOutputs = { found: [], gone: [] };
    for (const [cell, fingerprint] of project.records.fingerprints(run)) {
      if (!wanted(cell)) continue;
      const outputs = Object.entries(project.cache.index.find(fingerprint)?.outputs ?? {});
      let stored = 0;
      for (const [output, content] of outputs) {
        if ((await project.cache.objects.state(content)) !== 'ok') continue;
        stored++;
        if (!wanted(cell, output)) continue;
        const path = join(into, fileName(cell), output);
        await project.cache.objects.restore(content, path);
        past.found.push({ cell, output, path });
      }
      if (stored === 0) past.gone.push(cell);
    }
    // The records have cells in the order in which they ended.
    past.found.sort((a, b) => compareBytes(a.cell, b.cell));
    return past;
  } finally {
    project.close();
  }
}
