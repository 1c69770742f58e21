/** Which cells a command is about: `--only` just these, `--from` it and below, `--until` it and above; combined, what is in all of them. */
import { createRequire } from 'node:module';
import { relative } from 'node:path';
import { type Diagnostic, InvalidError } from '../diagnostic.ts';
import { canonicalJson, cellNameParts, coreScalar } from '../pipeline/cell-name.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
import type { Json } from '../step.ts';
import { didYouMean } from '../suggest.ts';

export interface Selection {
  only?: string[];
  from?: string[];
  until?: string[];
}

/** Names of cells. Each word of the selection is a cell, or a step for all its cells. */
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
    const message = 'nothing is selected: no cell is in all of --only, --from and --until';
    throw new InvalidError([{ ...nowhere, message, hint: 'combined, they select what each of them selects' }]);
  }
  return selected;
}

/** All that has to be there for the cells of `names`: what they read and wait for, directly and not; without themselves. */
export function ancestorsOf(pipeline: Pipeline, names: Set<string>): Set<string> {
  const all = spread(pipeline.cells, names, edgesAbove);
  for (const name of names) all.delete(name);
  return all;
}

/** The cells that a word names: see `cellTest`. */
export function cellsNamed(pipeline: Pipeline, word: string): Cell[] {
  const exact = pipeline.cells.filter((cell) => cell.name === word);
  return exact.length > 0 ? exact : pipeline.cells.filter(cellTest(word));
}

/**
 * Whether a word names a cell: by its whole name, by its step, or by some of the values in its brackets, in any order
 * and as the YAML spells them: `train[lr=3e-4]`.
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

/** A cell by its name alone. */
export function cellOfName(name: string): Pick<Cell, 'name' | 'step' | 'matrix'> {
  const { step, values } = cellNameParts(name) ?? { step: name, values: new Map<string, string>() };
  return { name, step, matrix: Object.fromEntries([...values].map(([key, text]) => [key, writtenValue(text)])) };
}

/** A value as a name or YAML has it: `3e-4`, `"1"`, `two words`, `{layers: 2}`. */
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
    // Loaded where it is needed: most values are plain.
    const { parse } = createRequire(import.meta.url)('yaml') as typeof import('yaml');
    return parse(text, { logLevel: 'silent' }) as Json;
  } catch {
    return text; // it only looks like YAML
  }
}

/** `flag`: the flag before the word, for the message, if it came with one. */
export function unknownCell(pipeline: Pipeline, word: string, flag = ''): Diagnostic {
  const file = relative(process.cwd(), pipeline.file);
  const where = file.startsWith('..') ? pipeline.file : file;
  return { ...nowhere, message: `${flag}${word}: there is no such cell or step in ${where}`, hint: nearestCells(pipeline, word) };
}

/** What the word may have meant: another step, another dimension, or another value. */
function nearestCells({ cells }: Pipeline, word: string): string {
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

const nowhere = { file: '', line: 0, column: 0, length: 0 };

const edgesAbove = (cell: Cell) => [...cell.reads, ...cell.waits];

function edgesBelow({ cells }: Pipeline): (cell: Cell) => string[] {
  const below = new Map<string, string[]>(cells.map((cell) => [cell.name, []]));
  for (const cell of cells) for (const above of edgesAbove(cell)) below.get(above)!.push(cell.name);
  return (cell) => below.get(cell.name)!;
}

/** `start` and all that edges lead to. */
function spread(cells: Cell[], start: Set<string>, edges: (cell: Cell) => string[]): Set<string> {
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const reached = new Set(start);
  // A Set's iteration also visits what is added on the way.
  for (const name of reached) for (const next of edges(byName.get(name)!)) reached.add(next);
  return reached;
}
