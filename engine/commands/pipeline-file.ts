/** Which pipeline a command is about: the one that is named, else the only one there is. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { InvalidError } from '../diagnostic.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { readPipeline } from '../pipeline/read.ts';
import { printLines } from '../report/print.ts';

/** The options of every command that reads a pipeline. */
export interface PipelineOptions {
  file?: string;
  /** `name=value` of -p. */
  param?: string[];
  /** The file of --params. */
  params?: string;
}

export interface Choice {
  /** What to say where there is no pipeline. */
  none?: string;
  /** Of several pipelines take the one that ran last: for commands that tell of what has happened. */
  lastRun?: boolean;
  /** For commands that execute: they take no pipeline that lies elsewhere, and print which one they take. */
  executes?: boolean;
}

/** Reads the pipeline and leaves every file as it is. */
export async function openPipeline(
  named: string | undefined,
  { file, param, params }: PipelineOptions,
  choice?: Choice,
): Promise<Pipeline> {
  return readPipeline(await choosePipeline(named ?? file, choice), { set: param, paramsFile: params, readOnly: true });
}

/** The file itself where it is named; else the one in the working folder, in ./pipelines, or of the last run. */
export async function choosePipeline(
  named: string | undefined,
  { none = 'there is no pipeline here', lastRun: takesLast = false, executes = false }: Choice = {},
): Promise<string> {
  if (named !== undefined) return named;
  for (const folder of ['.', 'pipelines']) {
    const found = pipelinesIn(folder);
    if (found.length === 1) {
      if (executes) printLines([`${found[0]}, the only pipeline ${folder === '.' ? 'here' : `in ${folder}`}`], process.stderr);
      return found[0]!;
    }
    const ran = found.length > 1 && takesLast ? await lastRun(found) : undefined;
    if (ran) {
      printLines([`${ran}, which ran last of the ${found.length} pipelines here`], process.stderr);
      return ran;
    }
    if (found.length > 1) throw usage(`there are ${found.length} pipelines here: name one`, found.join('\n'));
  }
  const last = executes ? undefined : await lastRun();
  if (last) return last;
  throw usage(none, 'Name its file, or write one to start from with `tunesmith init`.');
}

/**
 * Words of a command line, told apart: `explain spam.yaml train`, `explain train spam.yaml` and `explain train` all work,
 * as a cell's name never ends like a YAML file's.
 */
export function fileAmong(words: string[]): { file?: string; rest: string[] } {
  const file = words.find(isYaml);
  return { file, rest: words.filter((word) => word !== file) };
}

export function isYaml(word: string): boolean {
  return /\.ya?ml$/i.test(word);
}

export function usage(message: string, hint?: string): InvalidError {
  return new InvalidError([{ file: '', line: 0, column: 0, length: 0, message, hint }]);
}

/** The nearest folder with records of runs, from here upwards. */
export function recordsRoot(): string | undefined {
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.tunesmith'))) return folder;
    if (dirname(folder) === folder) return undefined;
  }
}

/** YAML files that have steps; a look at the text is enough to tell them from other YAML. */
function pipelinesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && isYaml(entry.name) && !entry.name.startsWith('.'))
    .map((entry) => join(folder, entry.name))
    .filter((path) => /^(["']?)steps\1\s*:/m.test(textOf(path)))
    .sort();
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // not ours to read
  }
}

/** The records are a database, which takes time to load: it is asked last. */
async function lastRun(among?: string[]): Promise<string | undefined> {
  const root = recordsRoot();
  if (root === undefined) return undefined;
  const { runs } = await import('../run/records.ts');
  const files = runs(root, among ? Number.MAX_SAFE_INTEGER : 1).map(({ pipeline }) => resolve(root, pipeline));
  const [last] = among ? files.flatMap((file) => among.filter((one) => resolve(one) === file)) : files;
  return last !== undefined && existsSync(last) ? last : undefined;
}
