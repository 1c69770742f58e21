/**
 * Reporters print the events of a run for people or scripts: as JSON, as plain lines, or in a live view. Nothing else in the engine
 * prints while a pipeline runs.
 */

import type { Pipeline } from '../contract/cell.ts';
import type { Emit, RunEvent } from '../contract/events.ts';
import { type Colors, colorsFor, printableJson, printableName, readableText } from '../format/terminal-text.ts';
import { clip, clipMiddle, duration, figure, oneLine, outputLine, width, wrap } from '../format/text.ts';
import { failureLines, RunOutcome } from './outcome.ts';
import { planLines } from './plan-table.ts';

export interface Reporter {
  emit: Emit;
  /** Called after the first Ctrl-C, when children are being stopped. */
  stopping(): void;
  /** Called after the last event. Restores the terminal. */
  close(): void;
}

export function openReporter({ json, plain }: { json?: boolean; plain?: boolean }, pipeline: Pipeline): Reporter {
  if (json) return { emit: (event) => process.stdout.write(`${printableJson(event)}\n`), stopping() {}, close() {} };
  // The live view needs an interactive terminal that can move its cursor.
  const live = !plain && process.stdout.isTTY && process.env.TERM !== 'dumb' && !process.env.CI;
  const reporter = live ? new LiveReporter(pipeline) : plainReporter(pipeline);
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
      const readableFailure = failure && {
        ...failure,
        message: readableText(failure.message),
        hint: failure.hint && readableText(failure.hint),
      };
      return { ...event, why: why && readableText(why), failure: readableFailure };
    }
    default:
      return event;
  }
}

/** Prints plain lines for logs and CI. Never moves the cursor or redraws a line. */
function plainReporter(pipeline: Pipeline): Reporter {
  const colors = colorsFor(process.stdout);
  const outcome = new RunOutcome(pipeline, colors);
  /** The progress of each running cell, and the time of its last progress line. */
  const running = new Map<string, { progress?: PacedProgress; printed: number }>();

  const print = (line: string) => process.stdout.write(`${line}\n`);

  const emit = (event: RunEvent) => {
    outcome.take(event);
    switch (event.type) {
      case 'waiting':
        return print(`${event.cell}: waiting for another run of this cell, process ${event.pid}`);
      case 'running': {
        running.set(event.cell, { printed: performance.now() });
        const attempt = event.attempt > 1 ? `attempt ${event.attempt}` : event.why;
        return print(`${event.cell}: running${attempt ? colors.dim(` (${oneLine(attempt)})`) : ''}`);
      }
      case 'log':
        return event.stream === 'step' ? print(`${event.cell}: ${outputLine(event.line, LONGEST_LOG_LINE)}`) : undefined;
      case 'progress': {
        const cell = running.get(event.cell);
        if (!cell) return;
        cell.progress = paced(event, cell.progress);
        const now = performance.now();
        if (now - cell.printed < EVERY) return;
        cell.printed = now;
        const { done, total, values } = event;
        const left = remaining(cell.progress);
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

/** The live view for a terminal: running cells in a live region, finished ones above it, and the outcome at the end. */
class LiveReporter implements Reporter {
  readonly #screen = process.stdout;
  readonly #colors = colorsFor(this.#screen);
  readonly #outcome: RunOutcome;
  readonly #running = new Map<string, RunningCell>();
  readonly #since = performance.now();
  #region: LiveRegion | undefined;
  #timer: NodeJS.Timeout | undefined;
  #cells = 0;
  #ended = 0;
  #stopping = false;
  #closed = false;

  constructor(private readonly pipeline: Pipeline) {
    this.#outcome = new RunOutcome(pipeline, this.#colors);
  }

  emit(event: RunEvent): void {
    this.#outcome.take(event);
    if (event.type === 'start') this.#cells = event.cells.length;
    else if (event.type === 'waiting') this.#add(event.cell, `waiting for another run, process ${event.pid}`, true);
    else if (event.type === 'running') this.#add(event.cell, event.attempt > 1 ? `attempt ${event.attempt}` : oneLine(event.why), false);
    else if (event.type === 'log') {
      const cell = this.#running.get(event.cell);
      const line = outputLine(event.line).trim();
      if (cell && line) cell.status = line;
    } else if (event.type === 'progress') {
      const cell = this.#running.get(event.cell);
      if (cell) cell.progress = paced(event, cell.progress);
    } else if (event.type === 'cell') {
      this.#running.delete(event.cell);
      this.#ended++;
      this.#printAbove(this.#finishedLines(event));
    } else if (event.type === 'plan')
      this.#printAbove(planLines(printableName(this.pipeline.name), event.cells, this.#columns, this.#colors));
  }

  stopping(): void {
    this.#outcome.interrupt();
    this.#stopping = true;
    this.#draw();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#running.clear();
    this.#region?.clear();
    this.#region?.done();
    const lines = this.#outcome.lines(this.#columns);
    if (this.#ended > 0 && this.#region) lines.unshift('');
    if (lines.length > 0) this.#screen.write(`${lines.join('\n')}\n`);
  }

  /** Opens the live region with the first running cell, because a run with nothing to do needs none. */
  #add(cell: string, status: string, waiting: boolean): void {
    this.#running.set(cell, { cell, since: performance.now(), status, waiting });
    this.#timer ??= setInterval(() => this.#draw(), 100);
    this.#timer.unref();
    if (this.#region) return;
    void import('log-update').then(({ createLogUpdate }) => {
      if (!this.#closed) this.#region ??= createLogUpdate(this.#screen);
    });
  }

  #draw(): void {
    if (this.#running.size === 0) {
      this.#region?.clear();
      return;
    }
    const progress = {
      cells: this.#cells,
      ended: this.#ended,
      stopping: this.#stopping,
      seconds: (performance.now() - this.#since) / 1000,
    };
    this.#region?.(frame([...this.#running.values()], progress, this.#columns, this.#screen.rows || 24, this.#colors));
  }

  #printAbove(lines: string[]): void {
    if (lines.length === 0) return;
    this.#region?.clear();
    this.#screen.write(`${lines.join('\n')}\n`);
    this.#draw();
  }

  /** The lines of a finished cell. The summary counts fresh, skipped and canceled cells, because there may be a thousand. */
  #finishedLines({ cell, state, seconds, why = '', failure }: Extract<RunEvent, { type: 'cell' }>): string[] {
    if (state !== 'ran' && state !== 'restored' && state !== 'failed') return [];
    const colors = this.#colors;
    const [mark, paint] = ({ ran: ['✔', colors.green], restored: ['↺', colors.cyan], failed: ['✖', colors.red] } as const)[state];
    const room = this.#columns;
    const time = duration(seconds);
    const name = clipMiddle(cell, Math.max(12, room - 2 - 2 - time.length));
    const reason = failure?.message ?? (state === 'restored' && why ? `restored: ${why}` : state === 'restored' ? 'restored' : why);
    const line = `${paint(mark)} ${name}  ${colors.dim(time)}`;
    const left = room - 2 - width(name) - 2 - time.length - 2;
    const result = state === 'ran' ? this.#outcome.resultOf(cell) : undefined;
    if (result) return this.#withResult(line, result, reason, left);
    if (state !== 'failed') return [left > 8 ? `${line}  ${colors.dim(clip(oneLine(reason), left))}`.trimEnd() : line];
    // The cause of a failure is never cut. If it does not fit, it gets its own line.
    const cause = oneLine(reason);
    const head = width(cause) <= left ? [`${line}  ${colors.red(cause)}`] : [line, `  ${colors.red(cause)}`];
    return failure ? [...head, ...failureLines(failure, colors)] : head;
  }

  /** Adds the result after the name if it fits, otherwise below it, and the reason for the run if there is room. */
  #withResult(line: string, result: string, why: string, left: number): string[] {
    if (width(result) > left) return [line, ...wrap(`  ${result}`, this.#columns, '  ')];
    const reason = ` (${oneLine(why)})`;
    return [`${line}  ${result}${why && width(result) + width(reason) <= left ? this.#colors.dim(reason) : ''}`];
  }

  /** Leaves the last column free, because a terminal wraps after it. */
  get #columns(): number {
    return Math.max(20, this.#screen.columns || 80) - 1;
  }
}

type LiveRegion = ReturnType<typeof import('log-update').createLogUpdate>;

/* One frame of the live region: a line for each running cell, cut to the terminal's width, and a summary line. */

export interface RunningCell {
  cell: string;
  /** Start time from `performance.now()`. */
  since: number;
  /** Its last line of output, or the reason why it runs. */
  status: string;
  /** Another run works on the cell. */
  waiting: boolean;
  progress?: PacedProgress;
}

type RunProgress = Record<'cells' | 'ended' | 'seconds', number> & { stopping: boolean };

export function frame(running: RunningCell[], run: RunProgress, columns: number, rows: number, colors: Colors): string {
  // Leave room for the summary line, the "+ more" line and the cursor's line.
  const room = Math.max(1, rows - 3);
  const shown = running.length > room ? running.slice(0, Math.max(1, room - 1)) : running;
  const now = performance.now();
  const lines = shown.map((cell) => cellLine(cell, (now - cell.since) / 1000, columns, colors));
  if (shown.length < running.length) lines.push(colors.dim(clip(`  + ${running.length - shown.length} more`, columns)));
  const counts = [`${run.ended.toLocaleString('en-US')}/${run.cells.toLocaleString('en-US')} cells`, duration(run.seconds)];
  const line = run.stopping ? 'stopping…, press Ctrl-C again to kill' : counts.join(' · ');
  lines.push(run.stopping ? colors.yellow(clip(line, columns)) : colors.dim(clip(line, columns)));
  return lines.join('\n');
}

const SPINNER = [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'];
const GAP = '  ';

function cellLine(cell: RunningCell, seconds: number, columns: number, colors: Colors): string {
  const { progress } = cell;
  const mark = cell.waiting ? '◌' : SPINNER[Math.floor(seconds * 10) % SPINNER.length]!;
  // The name gets about half of the line. The other fields get the rest in the order of their importance.
  const least = Math.min(width(cell.cell), Math.max(8, Math.floor(columns * 0.45)));
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
    const position = share === undefined ? done.toLocaleString('en-US') : `${Math.floor(share * 100)}%`;
    if (fits(position)) fields.unshift(position);
    const secondsLeft = remaining(progress);
    const eta = secondsLeft === undefined ? '' : `ETA ${duration(secondsLeft)}`;
    if (eta && fits(eta)) fields.push(eta);
    for (const value of valuesOf(values)) if (fits(value)) fields.push(value);
    const bar = Math.min(20, left - GAP.length - Math.max(0, Math.min(width(cell.cell) - least, left - 12)));
    if (share !== undefined && bar >= 6 && fits(' '.repeat(bar))) fields.unshift(progressBar(share, bar, colors));
  } else if (left > GAP.length + 12) {
    const status = clip(cell.status, left - GAP.length - Math.max(0, Math.min(width(cell.cell) - least, left - 12 - GAP.length)));
    if (status && fits(status)) fields.push(colors.dim(status));
  }
  return [`${colors.cyan(mark)} ${clipMiddle(cell.cell, least + left)}`, ...fields].join(GAP);
}

function progressBar(share: number, columns: number, colors: Colors): string {
  const full = Math.round(share * columns);
  return colors.green('━'.repeat(full)) + colors.dim('─'.repeat(columns - full));
}

/* Formats progress events for the live view and for plain lines. */

type Progress = Pick<Extract<RunEvent, { type: 'progress' }>, 'done' | 'total' | 'values'>;

/** Progress, and where the count began: a step that resumes begins in the middle, and a step may count several things in turn. */
export interface PacedProgress extends Progress {
  /** `at`: from `performance.now()`. */
  from: { done: number; at: number };
}

export function paced({ done, total, values }: Progress, before: PacedProgress | undefined): PacedProgress {
  const goesOn = before !== undefined && before.total === total && before.done <= done;
  return { done, ...(total !== undefined && { total }), values, from: goesOn ? before.from : { done, at: performance.now() } };
}

/** The estimated remaining time in seconds; undefined while there is too little data. */
function remaining({ done, total, from }: PacedProgress): number | undefined {
  const seconds = (performance.now() - from.at) / 1000;
  if (!total || done <= from.done || done > total || seconds < 1) return undefined;
  return (seconds / (done - from.done)) * (total - done);
}

/** "loss 0.31", "5,210 tokens/s": for rates, the value comes before the name. */
function valuesOf(values: Progress['values']): string[] {
  return Object.entries(values).map(([name, value]) => (name.includes('/') ? `${rate(value)} ${name}` : `${name} ${figure(value)}`));
}

function rate(value: number | string): string {
  return figure(typeof value === 'number' && value >= 100 ? Math.round(value) : value);
}
