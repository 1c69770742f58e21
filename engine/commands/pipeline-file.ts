/**
 * Finds the pipeline of a command: the given file, otherwise the only pipeline in the folder. Finds the project of a command without
 * a pipeline.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { Pipeline } from '../contract/cell.ts';
import { usage } from '../contract/errors.ts';
import { displayPath } from '../files/paths.ts';
import { printableName, printLines } from '../format/terminal-text.ts';
import { readPipeline } from '../pipeline/index.ts';
import { rootOf } from '../pipeline/request.ts';

export interface PipelineOptions {
  file?: string;
  /** `name=value` of -p. */
  param?: string[];
  /** The file of --params. */
  params?: string;
}

interface PipelineChoice {
  /** The message if there is no pipeline. */
  none?: string;
  /** If there are several pipelines, take the one that ran last. For commands that report on past runs. */
  lastRun?: boolean;
  /** For commands that run cells: they only use a pipeline in this folder or in ./pipelines, and print which one. */
  executes?: boolean;
}

/** Reads the pipeline without changing any file. */
export async function openPipeline(
  named: string | undefined,
  { file, param, params }: PipelineOptions,
  choice?: PipelineChoice,
): Promise<Pipeline> {
  return readPipeline(await choosePipeline(named ?? file, choice), { set: param, paramsFile: params, readOnly: true });
}

/** The given file; otherwise the pipeline in the working folder, in ./pipelines, or of the last run. */
export async function choosePipeline(
  named: string | undefined,
  { none = 'there is no pipeline here', lastRun: takesLast = false, executes = false }: PipelineChoice = {},
): Promise<string> {
  if (named !== undefined) return named;
  for (const folder of ['.', 'pipelines']) {
    const files = pipelinesIn(folder);
    if (files.length === 1) {
      if (executes) printLines([`using ${files[0]}, the only pipeline ${folder === '.' ? 'here' : `in ${folder}`}`], process.stderr);
      return files[0]!;
    }
    const ran = files.length > 1 && takesLast ? await lastRun(files) : undefined;
    if (ran) {
      printLines([`using ${ran}, which ran last among the ${files.length} pipelines here`], process.stderr);
      return ran;
    }
    if (files.length > 1) throw usage(`there are ${files.length} pipelines here; name one of them`, files.join('\n'));
  }
  const last = executes ? undefined : await lastRun();
  if (last) {
    printLines([`using ${displayPath(last)}, which ran last in this project`], process.stderr);
    return last;
  }
  throw usage(none, 'Name the pipeline file, or create an example with `tunesmith init`.');
}

/** Separates the pipeline file from the other arguments, in any order: the name of a cell never ends in .yaml or .yml. */
export function fileAmong(words: string[]): { file?: string; rest: string[] } {
  const file = words.find(isYaml);
  return { file, rest: words.filter((word) => word !== file) };
}

export function isYaml(word: string): boolean {
  return /\.ya?ml$/i.test(word);
}

/**
 * The project of a command without a pipeline. It is the project of `file` or of a pipeline in the working folder, so that no command
 * acts on another project than `run` does. A project that is not the working folder is printed.
 */
export function projectRoot(file?: string): string {
  const root = rootOf(file === undefined ? process.cwd() : dirname(resolve(file)));
  if (root !== process.cwd()) printLines([`using the project ${printableName(root)}`], process.stderr);
  return root;
}

/** A hint for a project in which nothing has run, if it is inside another project with results. */
export function outerProject(root: string): string | undefined {
  if (existsSync(join(root, '.tunesmith')) || dirname(root) === root) return undefined;
  const outer = rootOf(dirname(root));
  if (!existsSync(join(outer, '.tunesmith'))) return undefined;
  const mark = ['package.json', '.git'].find((name) => existsSync(join(root, name)));
  return `This folder is a project of its own, because ${displayPath(join(root, mark!))} exists. To use the project around it, run the command in ${relative(process.cwd(), outer)}.`;
}

/** YAML files whose text has a `steps:` key. */
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
    return ''; // no permission to read it
  }
}

/** Loaded on demand, because opening the database of runs takes time. */
async function lastRun(among?: string[]): Promise<string | undefined> {
  const root = rootOf(among ? dirname(resolve(among[0]!)) : process.cwd());
  const { pastRuns: runs } = await import('../run/records.ts');
  const files = runs(root, among ? Number.MAX_SAFE_INTEGER : 1).map(({ pipeline }) => resolve(root, pipeline));
  const [last] = among ? files.flatMap((file) => among.filter((one) => resolve(one) === file)) : files;
  return last !== undefined && existsSync(last) ? last : undefined;
}
