/** `tunesmith logs CELL`: what a cell wrote when it last ran, or in a certain run. */
import { createReadStream, existsSync } from 'node:fs';
import { pipeline as pipe } from 'node:stream/promises';
import { InvalidError } from '../diagnostic.ts';
import { shownPath } from '../pipeline/text.ts';
import { lastLog, run } from '../run/records.ts';
import { cellsNamed, unknownCell } from '../run/selection.ts';
import { fileAmong, openPipeline, type PipelineOptions, usage } from './pipeline-file.ts';
import { runNamed } from './run-words.ts';

export default async function logs(words: string[], options: PipelineOptions & { run?: string }): Promise<void> {
  const { file, rest } = fileAmong(words);
  if (rest.length !== 1)
    throw usage(`logs takes one cell or step${rest.length > 1 ? `, not ${rest.length}` : ''}`, 'For example: tunesmith logs train');
  const [word] = rest as [string];
  const pipeline = await openPipeline(file, options);
  const cells = cellsNamed(pipeline, word);
  if (cells.length === 0) throw new InvalidError([unknownCell(pipeline, word)]);

  const id = options.run === undefined ? undefined : runNamed(pipeline.root, options.run);
  const logOf = id === undefined ? (cell: string) => lastLog(pipeline, cell) : logsOfRun(pipeline.root, id);
  const found = cells.map(({ name }) => ({ name, log: logOf(name) })).filter(({ log }) => log !== undefined && existsSync(log));
  if (found.length === 0 && id !== undefined)
    throw usage(`${word} has no log of run ${id}`, `What it wrote when it last ran: tunesmith logs ${word}`);
  if (found.length === 0)
    throw usage(`${word} has no log: it has not run yet`, `Run it: tunesmith run ${shownPath(pipeline.file)} --until ${word}`);
  for (const [i, { name, log }] of found.entries()) {
    if (found.length > 1) process.stdout.write(`${i > 0 ? '\n' : ''}${name}\n`);
    await pipe(createReadStream(log!), process.stdout, { end: false });
  }
}

function logsOfRun(root: string, id: number): (cell: string) => string | undefined {
  const logs = new Map(run(root, id)!.cells.map(({ cell, log }) => [cell, log]));
  return (cell) => logs.get(cell);
}
