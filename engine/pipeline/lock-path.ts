/** Where the lock of a pipeline lies: beside its file. */
export function lockPath(pipelineFile: string): string {
  return `${pipelineFile.replace(/\.ya?ml$/i, '')}.lock`;
}
