/** The live view for a terminal: running cells in a live region, finished ones above it, and the outcome at the end. */
import type { RunEvent } from '../events.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { printableName } from '../printable.ts';
import { colorsFor } from './colors.ts';
import { failureLines } from './failure.ts';
import { frame, type Work } from './frame.ts';
import { Outcome } from './outcome.ts';
import { planLines } from './plan.ts';
import type { Reporter } from './reporter.ts';
import { clip, clipMiddle, duration, oneLine, outputLine, width, wrap } from './text.ts';

type LiveRegion = ReturnType<typeof import('log-update').createLogUpdate>;

export function prettyReporter(pipeline: Pipeline): Reporter {
  const screen = process.stdout;
  const colors = colorsFor(screen);
  const outcome = new Outcome(pipeline, colors);
  const working = new Map<string, Work>();
  let live: LiveRegion | undefined;
  let timer: NodeJS.Timeout | undefined;
  let cells = 0;
  let ended = 0;
  let stopping = false;
  let closed = false;
  const since = performance.now();

  // Leave the last column free, because a terminal wraps after it.
  const columns = () => Math.max(20, screen.columns || 80) - 1;

  const draw = () => {
    if (working.size === 0) return live?.clear();
    live?.(
      frame(
        [...working.values()],
        { cells, ended, stopping, seconds: (performance.now() - since) / 1000 },
        columns(),
        screen.rows || 24,
        colors,
      ),
    );
  };

  /** Starts with the first running cell, because a run with nothing to do needs no live region. */
  const start = () => {
    timer ??= setInterval(draw, 100);
    timer.unref();
    if (!live) {
      void import('log-update').then(({ createLogUpdate }) => {
        if (!closed) live ??= createLogUpdate(screen);
      });
    }
  };

  const above = (lines: string[]) => {
    if (lines.length === 0) return;
    live?.clear();
    screen.write(`${lines.join('\n')}\n`);
    draw();
  };

  const emit = (event: RunEvent) => {
    outcome.take(event);
    switch (event.type) {
      case 'start':
        cells = event.cells.length;
        return;
      case 'waiting':
        working.set(event.cell, {
          cell: event.cell,
          since: performance.now(),
          told: `waiting for another run, process ${event.pid}`,
          waiting: true,
        });
        return start();
      case 'running':
        working.set(event.cell, {
          cell: event.cell,
          since: performance.now(),
          told: event.attempt > 1 ? `attempt ${event.attempt}` : oneLine(event.why),
          waiting: false,
        });
        return start();
      case 'log': {
        const work = working.get(event.cell);
        const line = outputLine(event.line).trim();
        if (work && line) work.told = line;
        return;
      }
      case 'progress': {
        const work = working.get(event.cell);
        if (work) work.progress = event;
        return;
      }
      case 'cell':
        working.delete(event.cell);
        ended++;
        return above(finished(event));
      case 'plan':
        return above(planLines(printableName(pipeline.name), event.cells, columns(), colors));
    }
  };

  /** The lines of a finished cell. The summary counts fresh, skipped and canceled cells, because there may be a thousand. */
  const finished = ({ cell, state, seconds, why = '', failure }: Extract<RunEvent, { type: 'cell' }>): string[] => {
    if (state !== 'ran' && state !== 'restored' && state !== 'failed') return [];
    const [mark, paint] = ({ ran: ['✔', colors.green], restored: ['↺', colors.cyan], failed: ['✖', colors.red] } as const)[state];
    const room = columns();
    const time = duration(seconds);
    const name = clipMiddle(cell, Math.max(12, room - 2 - 2 - time.length));
    const told = failure?.message ?? (state === 'restored' && why ? `restored: ${why}` : state === 'restored' ? 'restored' : why);
    const line = `${paint(mark)} ${name}  ${colors.dim(time)}`;
    const left = room - 2 - width(name) - 2 - time.length - 2;
    const result = state === 'ran' ? outcome.resultOf(cell) : undefined;
    if (result) return withResult(line, result, told, left);
    if (state !== 'failed') return [left > 8 ? `${line}  ${colors.dim(clip(oneLine(told), left))}`.trimEnd() : line];
    // The cause of a failure is never cut. If it does not fit, it gets its own line.
    const cause = oneLine(told);
    const head = width(cause) <= left ? [`${line}  ${colors.red(cause)}`] : [line, `  ${colors.red(cause)}`];
    return failure ? [...head, ...failureLines(failure, colors)] : head;
  };

  /** Adds the result after the name if it fits, otherwise below it, and the reason for the run if there is room. */
  const withResult = (line: string, result: string, why: string, left: number): string[] => {
    if (width(result) > left) return [line, ...wrap(`  ${result}`, columns(), '  ')];
    const reason = ` (${oneLine(why)})`;
    return [`${line}  ${result}${why && width(result) + width(reason) <= left ? colors.dim(reason) : ''}`];
  };

  return {
    emit,
    stopping: () => {
      outcome.interrupt();
      stopping = true;
      draw();
    },
    close: () => {
      closed = true;
      clearInterval(timer);
      working.clear();
      live?.clear();
      live?.done();
      const lines = outcome.lines(columns());
      if (ended > 0 && live) lines.unshift('');
      if (lines.length > 0) screen.write(`${lines.join('\n')}\n`);
    },
  };
}
