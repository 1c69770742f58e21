/** Reporters turn events into what a person or a script reads. Nothing else in the engine prints while a pipeline runs. */
import type { Emit, RunEvent } from '../events.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { printableName, readableText } from '../printable.ts';

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
  const reporter =
    kind === 'plain' ? (await import('./plain.ts')).plainReporter(pipeline) : (await import('./pretty.ts')).prettyReporter(pipeline);
  return { ...reporter, emit: (event) => reporter.emit(readable(event)) };
}

/** With texts that a terminal can take. Lines that a program wrote are left to `outputLine`; names of cells are fit for it already. */
function readable(event: RunEvent): RunEvent {
  switch (event.type) {
    case 'running':
      return { ...event, why: readableText(event.why) };
    case 'progress': {
      const values = Object.entries(event.values).map(([name, value]) => [
        printableName(name),
        typeof value === 'string' ? readableText(value) : value,
      ]);
      return { ...event, values: Object.fromEntries(values) };
    }
    case 'metric':
      return { ...event, name: printableName(event.name) };
    case 'result':
    case 'notice':
      return { ...event, message: readableText(event.message) };
    case 'cell': {
      const { why, failure } = event;
      const { message = '', hint } = failure ?? {};
      return {
        ...event,
        ...(why === undefined ? {} : { why: readableText(why) }),
        ...(failure
          ? { failure: { ...failure, message: readableText(message), ...(hint === undefined ? {} : { hint: readableText(hint) }) } }
          : {}),
      };
    }
    default:
      return event;
  }
}

/** The live view needs a terminal that can move its cursor, and a person at it. */
export function reporterKind(asked: { json?: boolean; plain?: boolean }): ReporterKind {
  if (asked.json) return 'json';
  const person = process.stdout.isTTY && process.env.TERM !== 'dumb' && !process.env.CI;
  return asked.plain || !person ? 'plain' : 'pretty';
}
