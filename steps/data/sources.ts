/**
 * Records which data a table was collected from. `collect` writes the record as `sources.json`, which is copied with
 * data, tokens, model and bundle; the model card lists the sources. The file contains no path of the machine and no
 * credentials.
 */
import { existsSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StepError } from '../../engine/step.ts';

export interface Source {
  /** An address with its commit or version, a package, a database, or the name of a file. */
  name: string;
  /** The number of files or folders from this source. */
  files: number;
}

export interface Sources {
  /** The number of collected rows. */
  rows: number;
  sources: Source[];
}

/** Undefined if the sources are unknown, because another step made the table. @throws StepError for a damaged file */
export async function readSources(folder: string): Promise<Sources | undefined> {
  const file = join(folder, NAME);
  if (!existsSync(file)) return undefined;
  let found: Partial<Sources> | null;
  try {
    found = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new StepError(`${file} is not a JSON object: ${(error as Error).message}`, MAKE_AGAIN);
  }
  const { rows, sources } = found ?? {};
  const whole = Array.isArray(sources) && sources.every((one) => typeof one?.name === 'string' && typeof one.files === 'number');
  if (typeof rows !== 'number' || !whole) throw new StepError(`${file} does not contain \`rows\` and a list of \`sources\``, MAKE_AGAIN);
  return { rows, sources };
}

export async function writeSources(folder: string, sources: Sources): Promise<void> {
  await writeFile(join(folder, NAME), `${JSON.stringify({ version: 1, ...sources }, null, 2)}\n`);
}

/** Copies the record of a folder to what is made of it. */
export async function carrySources(from: string, to: string): Promise<void> {
  const file = join(from, NAME);
  if (existsSync(file)) await copyFile(file, join(to, NAME));
}

const NAME = 'sources.json';

const MAKE_AGAIN = 'The file is truncated, was edited, or was written by a newer version of tunesmith. Make or copy the folder again.';
