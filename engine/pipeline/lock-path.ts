/** The path of a pipeline's lockfile, which is beside the pipeline file. */
export function lockPath(pipelineFile: string): string {
  return `${pipelineFile.replace(/\.ya?ml$/i, '')}.lock`;
}
