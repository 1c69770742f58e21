/** `tunesmith graph`: draws the pipeline. */

import { printable } from '../printable.ts';
import { graphOf } from '../report/graph/graph.ts';
import { openPipeline, type PipelineOptions } from './pipeline-file.ts';

export default async function graph(file: string | undefined, options: PipelineOptions & { format: keyof typeof FORMATS }): Promise<void> {
  const drawn = graphOf(await openPipeline(file, options));
  const draw = await FORMATS[options.format]();
  process.stdout.write(printable(draw(drawn)));
}

const FORMATS = {
  mermaid: async () => (await import('../report/graph/mermaid.ts')).mermaid,
  dot: async () => (await import('../report/graph/dot.ts')).dot,
  svg: async () => (await import('../report/graph/svg.ts')).svg,
};
