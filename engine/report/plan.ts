/** Formats a plan: each cell that is not fresh, with the reason. */
import type { RunEvent } from '../events.ts';
import type { Colors } from './colors.ts';
import { distinctWidth } from './table.ts';
import { clip, clipMiddle, count, oneLine, pad, thousands, width } from './text.ts';

type Plan = Extract<RunEvent, { type: 'plan' }>['cells'];

export function planLines(pipeline: string, cells: Plan, columns: number, colors: Colors): string[] {
  const entries = Object.entries(cells);
  const fresh = entries.filter(([, { state }]) => state === 'fresh');
  const shown = fresh.length > FRESH ? entries.filter(([, { state }]) => state !== 'fresh') : entries;
  const longest = shown.reduce((most, [name]) => Math.max(most, width(name)), 0);
  const names = distinctWidth(
    shown.map(([name]) => name),
    longest,
    Math.min(longest, Math.max(12, Math.floor((columns - STATE) / 2))),
  );
  const paint = { run: colors.green, restore: colors.cyan, depends: colors.yellow, fresh: colors.dim };
  const lines = shown.map(([name, { state, why }]) => {
    const reason = clip(oneLine(state === 'fresh' ? '' : why), columns - STATE - names - 2);
    return `${paint[state](pad(state, STATE))}${pad(clipMiddle(name, names), names)}  ${colors.dim(reason)}`.trimEnd();
  });
  if (shown.length < entries.length) lines.push(`${colors.dim(pad('fresh', STATE))}${count(fresh.length, 'cell')}`);
  return [...lines, ...(lines.length > 0 ? [''] : []), headline(pipeline, entries.length, cells, colors)];
}

/** Maximum number of fresh cells that are listed by name. */
const FRESH = 20;
const STATE = 'depends  '.length;

function headline(pipeline: string, total: number, cells: Plan, colors: Colors): string {
  const many = (state: string) => Object.values(cells).filter((cell) => cell.state === state).length;
  const counts = [
    [many('run'), 'to run'],
    [many('depends'), 'undecided until the cells before them have run'],
    [many('restore'), 'to restore'],
  ] as const;
  const told = counts.filter(([n]) => n > 0).map(([n, what]) => `${thousands(n)} ${what}`);
  if (told.length === 0)
    return `${colors.bold(pipeline)}: ${total === 1 ? 'the one cell is fresh' : `all ${count(total, 'cell')} are fresh`}`;
  return `${colors.bold(pipeline)}: ${told.join(', ')}, ${thousands(many('fresh'))} fresh`;
}
