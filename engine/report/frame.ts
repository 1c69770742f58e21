/** One frame of the live region: a line for each running cell, cut to the terminal's width, and a summary line. */
import type { Colors } from './colors.ts';
import { remaining, valuesOf } from './progress.ts';
import { clip, clipMiddle, duration, width } from './text.ts';

export interface Work {
  cell: string;
  /** Start time from `performance.now()`. */
  since: number;
  /** Its last line of output, or the reason why it runs. */
  told: string;
  /** Another run works on the cell. */
  waiting: boolean;
  progress?: { done: number; total?: number; values: Record<string, number | string> };
}

export interface Whole {
  cells: number;
  ended: number;
  seconds: number;
  stopping: boolean;
}

export function frame(working: Work[], whole: Whole, columns: number, rows: number, colors: Colors): string {
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

function workLine(work: Work, seconds: number, columns: number, colors: Colors): string {
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
