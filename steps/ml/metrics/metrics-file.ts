/**
 * The figures of a metrics file, by the flat names that users write: `f1`, `f1.lower`, `gap.source`, `majority.f1`. Reads the
 * files of evaluate, baseline, calibrate, behavior and check, the choice of select, and any other JSON with numbers.
 */

import { readFile } from 'node:fs/promises';
import { type Json, StepError } from '../../../engine/contract/step.ts';

export interface Figure {
  /** Null if it is undefined. */
  value: number | null;
  /** Why it is undefined. */
  why?: string;
}

export interface Figures {
  /** By name. */
  own: ReadonlyMap<string, Figure>;
  /** Further numbers of the file by dotted path, such as `rows` and `classes.spam.recall`. */
  others: ReadonlyMap<string, Figure>;
}

/** `input`: the name of the input, for messages. */
export async function readMetricsFile(file: string, input: string): Promise<Json> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new StepError(
      `${file} is not a metrics file: ${(error as Error).message}`,
      `Give \`${input}\` the \`metrics\` of evaluate steps, or your own JSON files. JSON has no NaN: write null.`,
      [input],
    );
  }
}

export function figuresIn(report: Json): Figures {
  const { chosen, metrics, methods, intervals, undefined: reasons, slices, counterfactual } = mapOf(report);
  // The choice of select contains the metrics of the best candidate.
  if (isMap(chosen)) return figuresIn(chosen);
  const own = new Map<string, Figure>();
  const add = (name: string, value: Json | undefined) => {
    if (value !== null && typeof value !== 'number') return;
    const why = mapOf(reasons)[name];
    own.set(name, value === null ? { value, why: typeof why === 'string' ? why : 'the file has no value for it' } : { value });
  };
  const addEnds = (name: string, ends: Json | undefined) => {
    if (!isMap(ends)) return;
    add(`${name}.lower`, ends.low);
    add(`${name}.upper`, ends.high);
  };
  for (const [name, value] of Object.entries(mapOf(metrics))) add(name, value);
  for (const [method, result] of Object.entries(mapOf(methods))) {
    for (const [name, value] of Object.entries(mapOf(mapOf(result).metrics))) add(`${method}.${name}`, value);
    for (const [name, ends] of Object.entries(mapOf(mapOf(result).intervals))) addEnds(`${method}.${name}`, ends);
  }
  for (const [name, ends] of Object.entries(mapOf(intervals))) addEnds(name, ends);
  for (const [name, slice] of Object.entries(mapOf(slices))) addEnds(`gap.${name}`, mapOf(slice).interval);
  addEnds('counterfactual.changed', mapOf(counterfactual).interval);
  const others = new Map<string, Figure>();
  for (const [path, value] of numbersIn(report)) {
    const name = path.replace(/^metrics\./, '');
    if (!own.has(name)) others.set(name, Number.isNaN(value) ? { value: null, why: 'it is null in the file' } : { value });
  }
  return { own, others };
}

/** Numbers by dotted path. null, which is how JSON represents NaN, counts as NaN. */
export function numbersIn(value: Json, path = ''): Map<string, number> {
  if (typeof value === 'number') return new Map([[path, value]]);
  if (value === null) return new Map([[path, Number.NaN]]);
  if (typeof value !== 'object' || Array.isArray(value)) return new Map();
  return new Map(Object.entries(value).flatMap(([key, inner]) => [...numbersIn(inner, path ? `${path}.${key}` : key)]));
}

const isMap = (value: Json | undefined): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const mapOf = (value: Json | undefined): Record<string, Json> => (isMap(value) ? value : {});
