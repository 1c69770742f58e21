/** Formats a plan: each cell that is not fresh, with the reason. */

import type { RunEvent } from '../contract/events.ts';
import { distinctWidth } from '../format/table.ts';
import type { Colors } from '../format/terminal-text.ts';
import { clipMiddle, count, oneLine, pad, thousands, width, wrap } from '../format/text.ts';

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
  const indent = STATE + names + 2;
  const lines = shown.flatMap(([name, { state, why }]) => {
    // A long reason is wrapped in its column. If the names leave too little room, it gets its own lines.
    const beside = columns - indent >= NARROWEST;
    const reason = wrap(oneLine(state === 'fresh' ? '' : why), columns - (beside ? indent : STATE), '').filter((line) => line !== '');
    const first = `${paint[state](pad(state, STATE))}${pad(clipMiddle(name, names), names)}  ${colors.dim((beside && reason.shift()) || '')}`;
    return [first.trimEnd(), ...reason.map((line) => `${' '.repeat(beside ? indent : STATE)}${colors.dim(line)}`)];
  });
  if (shown.length < entries.length) lines.push(`${colors.dim(pad('fresh', STATE))}${count(fresh.length, 'cell')}`);
  return [...lines, ...(lines.length > 0 ? [''] : []), headline(pipeline, entries.length, cells, colors)];
}

/** Maximum number of fresh cells that are listed by name. */
const FRESH = 20;
const STATE = 'depends  '.length;
/** Minimum width of a reason next to a name. */
const NARROWEST = 30;

function headline(pipeline: string, total: number, cells: Plan, colors: Colors): string {
  const many = (state: string) => Object.values(cells).filter((cell) => cell.state === state).length;
  const counts = [
    [many('run'), 'to run'],
    [many('depends'), 'undecided until the cells before them have run'],
    [many('restore'), 'to restore'],
  ] as const;
  const parts = counts.filter(([n]) => n > 0).map(([n, what]) => `${thousands(n)} ${what}`);
  if (parts.length === 0)
    return `${colors.bold(pipeline)}: ${total === 1 ? 'the one cell is fresh' : `all ${count(total, 'cell')} are fresh`}`;
  return `${colors.bold(pipeline)}: ${parts.join(', ')}, ${thousands(many('fresh'))} fresh`;
}
