/**
 * Reads a pipeline file, from a cache if nothing has changed (pipeline-cache.ts). A check needs a YAML parser and a schema compiler,
 * which take longer to load than a run in which all cells are fresh.
 */

import { dirname, resolve } from 'node:path';
import type { Pipeline } from '../contract/cell.ts';
import { displayPath } from '../files/paths.ts';
import { Environment } from './environment.ts';
import { readCached, writeCached, writeUserCache } from './pipeline-cache.ts';
import { type ReadOptions, readText, rootOf } from './request.ts';

/** Throws InvalidError with all errors in the order of the file. */
export async function readPipeline(path: string, options: ReadOptions = {}): Promise<Pipeline> {
  const file = resolve(path);
  const folder = dirname(file);
  const root = rootOf(folder);
  const text = readText(file, displayPath(file));
  const { set = [], paramsFile, readOnly = false } = options;
  const params = paramsFile === undefined ? undefined : readText(resolve(paramsFile), displayPath(resolve(paramsFile)));
  const given = { file, folder, root, text, set, params };
  const known = await readCached(given, new Environment(folder, root, readOnly), readOnly);
  if (known) return known;
  const { checkPipeline } = await import('./check.ts');
  const environment = new Environment(folder, root, readOnly);
  const pipeline = await checkPipeline(given, options, environment);
  if (!readOnly) return { ...pipeline, remember: () => writeCached(given, environment.answers, pipeline) };
  writeUserCache(given, environment.answers, pipeline);
  return pipeline;
}
