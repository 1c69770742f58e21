/** Selects the cells of a command: `--only` these, `--from` these and their dependents, `--until` these and their dependencies; combined, the intersection. */

import { createRequire } from 'node:module';
import { relative } from 'node:path';
import { type Cell, cellNameParts, type Pipeline } from '../contract/cell.ts';
import { type Diagnostic, InvalidError, unplaced, usage } from '../contract/errors.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import { canonicalJson, coreScalar, type Json } from '../format/scalars.ts';

export interface Selection {
  only?: string[];
  from?: string[];
  until?: string[];
}

/** Names of the selected cells. A word is a cell, or a step, which means all its cells. */
export function selectCells(pipeline: Pipeline, { only, from, until }: Selection): Set<string> {
  const mistakes: Diagnostic[] = [];
  const named = (flag: string, words: string[]) =>
    new Set(
      words.flatMap((word) => {
        const cells = cellsNamed(pipeline, word);
        if (cells.length === 0) mistakes.push(unknownCell(pipeline, word, flag));
        return cells.map((cell) => cell.name);
      }),
    );
  const sets = [
    ...(only ? [named('--only ', only)] : []),
    ...(from ? [spread(pipeline.cells, named('--from ', from), edgesBelow(pipeline))] : []),
    ...(until ? [spread(pipeline.cells, named('--until ', until), edgesAbove)] : []),
  ];
  if (mistakes.length > 0) throw new InvalidError(mistakes);
  const selected = new Set(pipeline.cells.map((cell) => cell.name).filter((name) => sets.every((set) => set.has(name))));
  if (selected.size === 0) {
    const message = 'the selection is empty: no cell matches all of --only, --from and --until';
    throw usage(message, 'Combined options select only cells that match all of them.');
  }
  return selected;
}

/** All direct and indirect dependencies of `names`, without `names` themselves. */
export function ancestorsOf(pipeline: Pipeline, names: Set<string>): Set<string> {
  const all = spread(pipeline.cells, names, edgesAbove);
  for (const name of names) all.delete(name);
  return all;
}

/** The cells that a word matches (see `cellTest`). */
export function cellsNamed(pipeline: Pipeline, word: string): Cell[] {
  const exact = pipeline.cells.filter((cell) => cell.name === word);
  return exact.length > 0 ? exact : pipeline.cells.filter(cellTest(word));
}

/**
 * A test whether a word matches a cell: by its full name, by its step, or by some of the values in brackets, in any order and
 * spelled as in the YAML file: `train[lr=3e-4]`.
 */
export function cellTest(word: string): (cell: Pick<Cell, 'name' | 'step' | 'matrix'>) => boolean {
  const wanted = cellNameParts(word);
  const values = [...(wanted?.values ?? [])].map(([key, text]) => ({ key, text, value: canonicalJson(writtenValue(text)) }));
  return ({ name, step, matrix }) =>
    name === word ||
    (step === wanted?.step &&
      values.every(
        ({ key, text, value }) => Object.hasOwn(matrix, key) && (matrix[key] === text || canonicalJson(matrix[key]!) === value),
      ));
}

export function cellOfName(name: string): Pick<Cell, 'name' | 'step' | 'matrix'> {
  const { step, values } = cellNameParts(name) ?? { step: name, values: new Map<string, string>() };
  return { name, step, matrix: Object.fromEntries([...values].map(([key, text]) => [key, writtenValue(text)])) };
}

/** A value as in a cell's name or in YAML: `3e-4`, `"1"`, `two words`, `{layers: 2}`. */
function writtenValue(text: string): Json {
  if (!/^["'{[]/.test(text)) return coreScalar(text);
  try {
    return JSON.parse(text) as Json;
  } catch {
    return yamlValue(text);
  }
}

function yamlValue(text: string): Json {
  try {
    // Loaded on demand, because most values are plain.
    const { parse } = createRequire(import.meta.url)('yaml') as typeof import('yaml');
    return parse(text, { logLevel: 'silent' }) as Json;
  } catch {
    return text; // not YAML
  }
}

/** `flag`: the flag of the word, if any, for the message. */
export function unknownCell(pipeline: Pipeline, word: string, flag = ''): Diagnostic {
  const file = relative(process.cwd(), pipeline.file);
  return unknownCellIn(file.startsWith('..') ? pipeline.file : file, pipeline.cells, `${flag}${word}`, word);
}

/** `shown`: the word as the user gave it. */
export function unknownCellIn(where: string, cells: NamedCell[], shown: string, word = shown): Diagnostic {
  return unplaced(`${shown}: there is no such cell or step in ${where}`, nearestCells(cells, word));
}

type NamedCell = Pick<Cell, 'name' | 'step' | 'matrix'>;

function nearestCells(cells: NamedCell[], word: string): string {
  const step = /^([^[]+)\[/.exec(word)?.[1];
  const ofStep = cells.filter((cell) => cell.step === step);
  if (ofStep.length === 0) return didYouMean(step ?? word, new Set(cells.map((cell) => cell.step)), 'steps');
  const values = cellNameParts(word)?.values ?? new Map<string, string>();
  const keys = [...new Set(ofStep.flatMap(({ matrix }) => Object.keys(matrix)))];
  const unknown = [...values.keys()].find((key) => !keys.includes(key));
  if (unknown !== undefined) return didYouMean(unknown, keys, `dimensions of ${step}`);
  const names = ofStep.map((cell) => cell.name);
  return didYouMean(word, names, `cells of ${step}`);
}

const edgesAbove = (cell: Cell) => [...cell.reads, ...cell.waits];

function edgesBelow({ cells }: Pipeline): (cell: Cell) => string[] {
  const below = new Map<string, string[]>(cells.map((cell) => [cell.name, []]));
  for (const cell of cells) for (const above of edgesAbove(cell)) below.get(above)!.push(cell.name);
  return (cell) => below.get(cell.name)!;
}

/** `start` and all cells that edges lead to. */
function spread(cells: Cell[], start: Set<string>, edges: (cell: Cell) => string[]): Set<string> {
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const reached = new Set(start);
  // Iterating a Set also visits elements that are added during the iteration.
  for (const name of reached) for (const next of edges(byName.get(name)!)) reached.add(next);
  return reached;
}
