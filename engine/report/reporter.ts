/** Reporters turn events into what a person or a script reads. Nothing else in the engine prints while a pipeline runs. */
import type { Emit } from '../events.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';

export interface Reporter {
  emit: Emit;
  /** The first Ctrl-C came: children are being stopped. */
  stopping(): void;
  /** The last event was emitted. Leaves the terminal as it was found. */
  close(): void;
}

export type ReporterKind = 'pretty' | 'plain' | 'json';

/** Each is loaded only when used: the live view is most of the time that a run with nothing to do would take. */
export async function openReporter(kind: ReporterKind, pipeline: Pipeline): Promise<Reporter> {
  if (kind === 'json') return (await import('./json.ts')).jsonReporter();
  if (kind === 'plain') return (await import('./plain.ts')).plainReporter(pipeline);
  return (await import('./pretty.ts')).prettyReporter(pipeline);
}

/** The live view needs a terminal that can move its cursor, and a person at it. */
export function reporterKind(asked: { json?: boolean; plain?: boolean }): ReporterKind {
  if (asked.json) return 'json';
  const person = process.stdout.isTTY && process.env.TERM !== 'dumb' && !process.env.CI;
  return asked.plain || !person ? 'plain' : 'pretty';
}
