/** The live view for a terminal: running cells in a live region, finished ones above it, and the outcome at the end. */

import type { Pipeline } from '../cell.ts';
import type { RunEvent } from '../events.ts';
import { type Colors, colorsFor, printableName } from '../format/terminal-text.ts';
import { clip, clipMiddle, duration, figure, oneLine, outputLine, width, wrap } from '../format/text.ts';
import { failureLines, RunOutcome } from './outcome.ts';
import { planLines } from './plan-table.ts';
import type { Reporter } from './reporter.ts';

/* Formats progress events for the live view and for plain lines. */

type Progress = Pick<Extract<RunEvent, { type: 'progress' }>, 'done' | 'total' | 'values'>;

/** The estimated remaining time in seconds; undefined while there is too little data. */
export function remaining({ done, total }: Progress, seconds: number): number | undefined {
  if (!total || done <= 0 || done > total || seconds < 1) return undefined;
  return (seconds / done) * (total - done);
}

/** "loss 0.31", "5,210 tokens/s": for rates, the value comes before the name. */
export function valuesOf(values: Progress['values']): string[] {
  return Object.entries(values).map(([name, value]) => (name.includes('/') ? `${rate(value)} ${name}` : `${name} ${figure(value)}`));
}

function rate(value: number | string): string {
  return figure(typeof value === 'number' && value >= 100 ? Math.round(value) : value);
}

/* One frame of the live region: a line for each running cell, cut to the terminal's width, and a summary line. */

export interface RunningCell {
  cell: string;
  /** Start time from `performance.now()`. */
  since: number;
  /** Its last line of output, or the reason why it runs. */
  told: string;
  /** Another run works on the cell. */
  waiting: boolean;
  progress?: { done: number; total?: number; values: Record<string, number | string> };
}

export interface RunProgress {
  cells: number;
  ended: number;
  seconds: number;
  stopping: boolean;
}

export function frame(working: RunningCell[], whole: RunProgress, columns: number, rows: number, colors: Colors): string {
  // Leave room for the summary line, the "+ more" line and the cursor's line.
  const room = Math.max(1, rows - 3);
  const shown = working.length > room ? working.slice(0, Math.max(1, room - 1)) : working;
  const now = performance.now();
  const lines = shown.map((work) => workLine(work, (now - work.since) / 1000, columns, colors));
  if (shown.length < working.length) lines.push(colors.dim(clip(`  + ${working.length - shown.length} more`, columns)));
  const told = [`${whole.ended.toLocaleString('en-US')}/${whole.cells.toLocaleString('en-US')} cells`, duration(whole.seconds)];
  const line = whole.stopping ? 'stopping…, press Ctrl-C again to kill' : told.join(' · ');
  lines.push(whole.stopping ? colors.yellow(clip(line, columns)) : colors.dim(clip(line, columns)));
  return lines.join('\n');
}

const SPINNER = [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'];
const GAP = '  ';

function workLine(work: RunningCell, seconds: number, columns: number, colors: Colors): string {
  const { progress } = work;
  const mark = work.waiting ? '◌' : SPINNER[Math.floor(seconds * 10) % SPINNER.length]!;
  // The name gets about half of the line. The other fields get the rest in the order of their importance.
  const least = Math.min(width(work.cell), Math.max(8, Math.floor(columns * 0.45)));
  let left = columns - 2 - least;
  const fits = (text: string) => {
    const needed = GAP.length + width(text);
    if (needed > left) return false;
    left -= needed;
    return true;
  };

  const elapsed = duration(seconds);
  const fields: string[] = fits(elapsed) ? [elapsed] : [];
  if (progress) {
    const { done, total, values } = progress;
    const share = total ? Math.min(1, done / total) : undefined;
    const far = share === undefined ? done.toLocaleString('en-US') : `${Math.floor(share * 100)}%`;
    if (fits(far)) fields.unshift(far);
    const eta = remaining(progress, seconds);
    const toGo = eta === undefined ? '' : `ETA ${duration(eta)}`;
    if (toGo && fits(toGo)) fields.push(toGo);
    for (const value of valuesOf(values)) if (fits(value)) fields.push(value);
    const bar = Math.min(20, left - GAP.length - Math.max(0, Math.min(width(work.cell) - least, left - 12)));
    if (share !== undefined && bar >= 6 && fits(' '.repeat(bar))) fields.unshift(drawn(share, bar, colors));
  } else if (left > GAP.length + 12) {
    const told = clip(work.told, left - GAP.length - Math.max(0, Math.min(width(work.cell) - least, left - 12 - GAP.length)));
    if (told && fits(told)) fields.push(colors.dim(told));
  }
  return [`${colors.cyan(mark)} ${clipMiddle(work.cell, least + left)}`, ...fields].join(GAP);
}

function drawn(share: number, columns: number, colors: Colors): string {
  const full = Math.round(share * columns);
  return colors.green('━'.repeat(full)) + colors.dim('─'.repeat(columns - full));
}

type LiveRegion = ReturnType<typeof import('log-update').createLogUpdate>;

export function prettyReporter(pipeline: Pipeline): Reporter {
  const screen = process.stdout;
  const colors = colorsFor(screen);
  const outcome = new RunOutcome(pipeline, colors);
  const working = new Map<string, RunningCell>();
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
