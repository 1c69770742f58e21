/** Prints plain lines for logs and CI. Never moves the cursor or redraws a line. */

import type { Pipeline } from '../cell.ts';
import type { RunEvent } from '../events.ts';
import { colorsFor, printableName } from '../format/terminal-text.ts';
import { duration, oneLine, outputLine } from '../format/text.ts';
import { remaining, valuesOf } from './live.ts';
import { failureLines, RunOutcome } from './outcome.ts';
import { planLines } from './plan-table.ts';
import type { Reporter } from './reporter.ts';

export function plainReporter(pipeline: Pipeline): Reporter {
  const colors = colorsFor(process.stdout);
  const outcome = new RunOutcome(pipeline, colors);
  /** The start of each running cell and the time of its last progress line. */
  const running = new Map<string, { since: number; printed: number }>();

  const print = (line: string) => process.stdout.write(`${line}\n`);

  const emit = (event: RunEvent) => {
    outcome.take(event);
    switch (event.type) {
      case 'waiting':
        return print(`${event.cell}: waiting for another run of this cell, process ${event.pid}`);
      case 'running': {
        const now = performance.now();
        running.set(event.cell, { since: now, printed: now });
        const attempt = event.attempt > 1 ? `attempt ${event.attempt}` : event.why;
        return print(`${event.cell}: running${attempt ? colors.dim(` (${oneLine(attempt)})`) : ''}`);
      }
      case 'log':
        return event.stream === 'step' ? print(`${event.cell}: ${outputLine(event.line, LONGEST_LOG_LINE)}`) : undefined;
      case 'progress': {
        const cell = running.get(event.cell);
        const now = performance.now();
        if (!cell || now - cell.printed < EVERY) return;
        cell.printed = now;
        const { done, total, values } = event;
        const left = remaining(event, (now - cell.since) / 1000);
        const fields = [
          total
            ? `${done.toLocaleString('en-US')}/${total.toLocaleString('en-US')} (${Math.floor((100 * done) / total)}%)`
            : done.toLocaleString('en-US'),
          ...valuesOf(values),
          ...(left === undefined ? [] : [`about ${duration(left)} left`]),
        ];
        return print(`${event.cell}: ${fields.join(', ')}`);
      }
      case 'cell':
        running.delete(event.cell);
        return finishedLines(event).forEach(print);
      case 'plan':
        return planLines(printableName(pipeline.name), event.cells, process.stdout.columns || Number.POSITIVE_INFINITY, colors).forEach(
          print,
        );
    }
  };

  /** The lines of a finished cell. The summary counts fresh, skipped and canceled cells, because there may be a thousand. */
  const finishedLines = (event: Extract<RunEvent, { type: 'cell' }>): string[] => {
    const { cell, state, seconds, why, failure } = event;
    if (state === 'ran') {
      const result = outcome.resultOf(cell);
      return [`${cell}: ${colors.green('ran')} in ${duration(seconds)}${result ? `: ${result}` : ''}`];
    }
    if (state === 'restored')
      return [`${cell}: ${colors.cyan('restored')} in ${duration(seconds)}${why ? colors.dim(` (${oneLine(why)})`) : ''}`];
    if (state !== 'failed') return [];
    const message = failure?.message ?? why ?? '';
    return [`${cell}: ${colors.red('failed')} after ${duration(seconds)}: ${message}`, ...(failure ? failureLines(failure, colors) : [])];
  };

  return {
    emit,
    stopping: () => {
      outcome.interrupt();
      print('stopping…');
    },
    close: () => outcome.lines(process.stdout.columns || WIDE).forEach(print),
  };
}

/** Maximum number of characters of a line that a step logs. It is long, so that such lines are rarely cut. */
const LONGEST_LOG_LINE = 2000;

/** Milliseconds between two progress lines of one cell. */
const EVERY = 10_000;
/** Width of tables in a log, which has no width of its own. */
const WIDE = 120;
