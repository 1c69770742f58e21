/** Which cells a command is about: `--only` just these, `--from` it and below, `--until` it and above; combined, what is in all of them. */
import { relative } from 'node:path';
import { type Diagnostic, InvalidError } from '../diagnostic.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
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

/** Cells of that name, or of the step of that name. */
export function cellsNamed(pipeline: Pipeline, word: string): Cell[] {
  const exact = pipeline.cells.filter((cell) => cell.name === word);
  return exact.length > 0 ? exact : pipeline.cells.filter((cell) => cell.step === word);
}

/** `flag`: the flag before the word, for the message, if it came with one. */
export function unknownCell(pipeline: Pipeline, word: string, flag = ''): Diagnostic {
  const steps = new Set(pipeline.cells.map((cell) => cell.step));
  // Who names a cell with brackets looks for one of that step.
  const step = /^([^[]+)\[/.exec(word)?.[1];
  const cells = pipeline.cells.filter((cell) => cell.step === step).map((cell) => cell.name);
  const hint = cells.length > 0 ? didYouMean(word, cells, `cells of ${step}`) : didYouMean(word, steps, 'steps');
  const file = relative(process.cwd(), pipeline.file);
  return { ...nowhere, message: `${flag}${word}: there is no such cell or step in ${file.startsWith('..') ? pipeline.file : file}`, hint };
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
