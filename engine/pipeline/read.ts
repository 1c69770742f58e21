/**
 * Reads a pipeline file. To check one takes a parser of YAML and a compiler of schemas, which take longer to load than
 * most runs that find all fresh. So what a file was found to say is remembered with all that decided it (memory.ts).
 */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { recall, remember } from './memory.ts';
import { Outside } from './outside.ts';
import type { Pipeline } from './pipeline.ts';
import { readText, shownPath } from './text.ts';

export interface ReadOptions {
  /** `name=value` of -p. */
  set?: string[];
  /** The file of --params. */
  paramsFile?: string;
  /** Leave every file as it is: keep no description of a user's step. */
  readOnly?: boolean;
}

/** What is asked for, in full: the same again means the same, unless something outside has changed. */
export interface Given {
  /** Absolute. */
  file: string;
  folder: string;
  /** Where `.tunesmith/` lies. */
  root: string;
  text: string;
  set: string[];
  /** The text of the params file. */
  params?: string;
}

/** Throws InvalidError with all mistakes, in the order of the file. */
export async function readPipeline(path: string, options: ReadOptions = {}): Promise<Pipeline> {
  const file = resolve(path);
  const folder = dirname(file);
  const root = rootOf(folder);
  const text = readText(file, shownPath(file));
  const { set = [], paramsFile, readOnly = false } = options;
  const params = paramsFile === undefined ? undefined : readText(resolve(paramsFile), shownPath(resolve(paramsFile)));
  const given = { file, folder, root, text, set, params };
  const known = await recall(given, new Outside(folder, root, readOnly));
  if (known) return known;
  const { checkPipeline } = await import('./check.ts');
  const outside = new Outside(folder, root, readOnly);
  const pipeline = await checkPipeline(given, options, outside);
  return readOnly ? pipeline : { ...pipeline, remember: () => remember(given, outside.answers, pipeline) };
}

/** Where `.tunesmith/` lies. */
export function rootOf(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (['.tunesmith', 'package.json', '.git'].some((mark) => existsSync(join(at, mark)))) return at;
    if (dirname(at) === at) return folder;
  }
}
