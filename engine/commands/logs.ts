/** `tunesmith logs CELL`: prints the log of a cell, of its last run or of a given run. */

import { createReadStream, existsSync } from 'node:fs';
import { pipeline as pipe } from 'node:stream/promises';
import { stripVTControlCharacters } from 'node:util';
import { InvalidError } from '../errors.ts';
import { displayPath } from '../files/paths.ts';
import { colorsFor, printable, printableInColor, printLines } from '../format/terminal-text.ts';
import { lastLog, runDetails } from '../run/records.ts';
import { cellsNamed, unknownCell } from '../run/select-cells.ts';
import { fileAmong, openPipeline, type PipelineOptions, usage } from './pipeline-file.ts';
import { runNamed } from './runs.ts';

export default async function logs(words: string[], options: PipelineOptions & { run?: string }): Promise<void> {
  const { file, rest } = fileAmong(words);
  if (rest.length !== 1)
    throw usage(`logs takes one cell or step${rest.length > 1 ? `, not ${rest.length}` : ''}`, 'For example: tunesmith logs train');
  const [word] = rest as [string];
  const pipeline = await openPipeline(file, options, { lastRun: true });
  const cells = cellsNamed(pipeline, word);
  if (cells.length === 0) throw new InvalidError([unknownCell(pipeline, word)]);

  const id = options.run === undefined ? undefined : runNamed(pipeline.root, options.run);
  const logOf = id === undefined ? (cell: string) => lastLog(pipeline, cell) : logsOfRun(pipeline.root, id);
  const logs = cells.map(({ name }) => ({ name, log: logOf(name) })).filter(({ log }) => log !== undefined && existsSync(log));
  if (logs.length === 0 && id !== undefined)
    throw usage(`${word} has no log of run ${id}`, `The log of its last run: tunesmith logs ${word}`);
  if (logs.length === 0)
    throw usage(`${word} has no log: it has not run yet`, `Run it: tunesmith run ${displayPath(pipeline.file)} --until ${word}`);
  for (const [i, { name, log }] of logs.entries()) {
    if (logs.length > 1) printLines([`${i > 0 ? '\n' : ''}${name}`]);
    if (process.stdout.isTTY) await pipe(createReadStream(log!, 'utf8'), visibly, process.stdout, { end: false });
    else await pipe(createReadStream(log!), process.stdout, { end: false });
  }
}

/** Makes a log safe for a terminal: keeps colours if colours are on, escapes other control sequences, and prints each state of a progress bar on its own line. */
async function* visibly(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  const inColor = colorsFor(process.stdout).isColorSupported;
  const shown = (text: string) => {
    const lines = text.replace(/\r\n?/g, '\n');
    return inColor ? printableInColor(lines) : printable(stripVTControlCharacters(lines));
  };
  let rest = '';
  for await (const chunk of chunks) {
    const text = rest + chunk;
    // A control sequence or a line end may continue in the next chunk.
    const end = /\p{Cc}[^\p{Cc}A-Za-z]{0,40}$/u.exec(text)?.index ?? text.length;
    rest = text.slice(end);
    yield shown(text.slice(0, end));
  }
  yield shown(rest) + (inColor ? RESET : '');
}

/** Resets colours that a log leaves on. */
const RESET = '\u001b[0m';

function logsOfRun(root: string, id: number): (cell: string) => string | undefined {
  const logs = new Map(runDetails(root, id)!.cells.map(({ cell, log }) => [cell, log]));
  return (cell) => logs.get(cell);
}
