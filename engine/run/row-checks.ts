/** Reads rows of the records and leaves out damaged ones, for example after a bit flip on the disk. */

import { sealed, unsealed } from '../../cache/database.ts';
import type { CellState } from '../events.ts';

export function sealedJson(value: unknown): string {
  return sealed(JSON.stringify(value));
}

export function unsealedJson<T>(kept: unknown): T | undefined {
  const text = unsealed(kept);
  return text === undefined ? undefined : JSON.parse(text);
}

/** A run, a cell or a metric as it was written; undefined if damaged. */
export function isRun({ id, pipeline, started }: any): boolean {
  return isNumber(id) && isText(pipeline) && isText(started) && Number.isFinite(Date.parse(started));
}

export function isCell({ cell, state, seconds }: any): boolean {
  return isText(cell) && STATES.has(state) && isNumber(seconds);
}

export function isMetric({ cell, name, value, step = null, better = null }: any): boolean {
  const isPoint = isText(cell) && isText(name) && (value === null || isNumber(value)) && (step === null || isNumber(step));
  return isPoint && [null, 'higher', 'lower'].includes(better);
}

const STATES = new Set(['ran', 'fresh', 'restored', 'failed', 'skipped', 'canceled'] satisfies CellState[] as string[]);

export const isText = (value: unknown) => typeof value === 'string';
export const isNumber = (value: unknown) => typeof value === 'number';
