/** Formats progress events for the live view and for plain lines. */
import type { RunEvent } from '../events.ts';
import { figure } from './text.ts';

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
