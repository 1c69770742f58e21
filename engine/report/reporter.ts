/** Reporters print events for people or scripts. Nothing else in the engine prints while a pipeline runs. */

import type { Pipeline } from '../cell.ts';
import type { Emit, RunEvent } from '../events.ts';
import { printableJson, printableName, readableText } from '../format/terminal-text.ts';

export interface Reporter {
  emit: Emit;
  /** Called after the first Ctrl-C, when children are being stopped. */
  stopping(): void;
  /** Called after the last event. Restores the terminal. */
  close(): void;
}

type ReporterKind = 'pretty' | 'plain' | 'json';

/** Loads reporters on demand, because loading the live view takes most of the time of a run with nothing to do. */
export async function openReporter(kind: ReporterKind, pipeline: Pipeline): Promise<Reporter> {
  if (kind === 'json') return { emit: (event) => process.stdout.write(`${printableJson(event)}\n`), stopping() {}, close() {} };
  const reporter =
    kind === 'plain' ? (await import('./plain.ts')).plainReporter(pipeline) : new (await import('./live.ts')).LiveReporter(pipeline);
  return {
    emit: (event) => reporter.emit(readable(event)),
    stopping: () => reporter.stopping(),
    close: () => reporter.close(),
  };
}

/** Makes the texts of an event safe for a terminal. `outputLine` does it for output of programs; names of cells are safe already. */
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

/** Whether to use the live view: it needs an interactive terminal that can move its cursor. */
export function reporterKind(options: { json?: boolean; plain?: boolean }): ReporterKind {
  if (options.json) return 'json';
  const person = process.stdout.isTTY && process.env.TERM !== 'dumb' && !process.env.CI;
  return options.plain || !person ? 'plain' : 'pretty';
}
