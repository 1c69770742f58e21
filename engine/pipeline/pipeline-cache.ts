/**
 * Caches parsed pipelines: the cells of a valid pipeline with everything that they depend on. An entry is valid if the text, the
 * parameters and the installed tunesmith are the same, and everything that was looked up outside of the text (files, packages,
 * variables) still gives the same answer.
 *
 * A run stores the entry in the project, in `.tunesmith/pipelines/`. Commands that change no file of the project, such as `status`,
 * store it in the user's cache folder, and only they read it from there.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readCachedText, replaceFileIfPossible, writeCachedText } from '../../cache/atomic-move.ts';
import { sealed } from '../../cache/database.ts';
import { sha256 } from '../../cache/digest.ts';
import { type Cell, fileName, type Pipeline, type StepAction } from '../contract/cell.ts';
import { packageVersion } from '../files/packages.ts';
import { type Answers, type Environment, variableIn } from './environment.ts';
import type { PipelineRequest } from './request.ts';

interface CachedPipeline {
  program: string;
  given: PipelineRequest;
  answers: Answers;
  pipeline: Pick<Pipeline, 'name' | 'description' | 'params'>;
  /** The declarations of the steps, stored once instead of in each cell. */
  definitions: StepAction['definition'][];
  cells: CachedCell[];
}

type CachedCell = Omit<Cell, 'action' | 'env'> & {
  action: Exclude<Cell['action'], StepAction> | (Omit<StepAction, 'definition'> & { definition: number });
  /** Null if the value comes from the environment, because such values are not written to disk. */
  env: Record<string, string | null>;
};

/** The cached cells; undefined if there are none or something has changed. */
export async function readCached(given: PipelineRequest, environment: Environment, readOnly: boolean): Promise<Pipeline | undefined> {
  const files = [cacheFile(given), ...(readOnly ? [userCacheFile(given)] : [])];
  for (const file of files) {
    const text = readCachedText(file);
    const found = text === undefined ? undefined : await stillValid(JSON.parse(text), given, environment);
    if (found) return found;
  }
  return undefined;
}

async function stillValid(cached: CachedPipeline, given: PipelineRequest, environment: Environment): Promise<Pipeline | undefined> {
  const same = cached.program === installationStamp() && JSON.stringify(cached.given) === JSON.stringify(given);
  if (!same || !(await environment.isUnchanged(cached.answers))) return undefined;
  const { pipeline, definitions, cells } = cached;
  return {
    ...pipeline,
    file: given.file,
    folder: given.folder,
    root: given.root,
    text: given.text,
    cells: cells.map((cell) => fromCached(cell, definitions, environment)),
    async locate(step, at, message, hint) {
      const { locateInText } = await import('./source.ts');
      return locateInText(given, step, at, message, hint);
    },
  };
}

export function writeCached(given: PipelineRequest, answers: Answers, pipeline: Pipeline): void {
  writeCachedText(cacheFile(given), toText(given, answers, pipeline));
}

/** For a large pipeline, this would take longer than it saves if the command is not repeated. */
export function writeUserCache(given: PipelineRequest, answers: Answers, pipeline: Pipeline): void {
  if (pipeline.cells.length > 5000) return;
  const file = userCacheFile(given);
  const folder = dirname(file);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const names = readdirSync(folder);
    // Pipelines that were moved or deleted.
    if (names.length >= MOST) for (const name of names) rmSync(join(folder, name), { force: true });
  } catch {
    return; // no home folder, a full disk or no permission
  }
  replaceFileIfPossible(file, sealed(toText(given, answers, pipeline)));
}

/** Maximum number of pipelines in the user's cache folder. */
const MOST = 200;

function toText(given: PipelineRequest, answers: Answers, { name, description, params, cells }: Pipeline): string {
  const definitions = new Map<StepAction['definition'], number>();
  const cached: CachedPipeline = {
    program: installationStamp(),
    given,
    answers,
    pipeline: { name, description, params },
    cells: cells.map((cell) => toCached(cell, definitions, answers)),
    definitions: [...definitions.keys()],
  };
  return JSON.stringify(cached);
}

function toCached(cell: Cell, definitions: Map<StepAction['definition'], number>, { variables }: Answers): CachedCell {
  const env = Object.entries(cell.env).map(([name, value]) => {
    // A value in the text may equal the value in the environment. It is then read from the environment.
    const taken = Object.hasOwn(variables, name) && variableIn(process.env, name) === value;
    return [name, taken ? null : value!] as const;
  });
  return { ...cell, env: Object.fromEntries(env), action: toCachedAction(cell.action, definitions) };
}

function toCachedAction(action: Cell['action'], definitions: Map<StepAction['definition'], number>): CachedCell['action'] {
  if (action.kind === 'shell') return action;
  const { definition } = action;
  if (!definitions.has(definition)) definitions.set(definition, definitions.size);
  return { ...action, definition: definitions.get(definition)! };
}

function fromCached({ action, env, ...cell }: CachedCell, definitions: StepAction['definition'][], environment: Environment): Cell {
  const variables = Object.entries(env).map(([name, value]) => [name, value ?? environment.readVariable(name)] as const);
  return {
    ...cell,
    env: Object.fromEntries(variables),
    action: action.kind === 'shell' ? action : { ...action, definition: definitions[action.definition]! },
  };
}

function cacheFile({ root, file }: PipelineRequest): string {
  return join(root, '.tunesmith', 'pipelines', `${fileName(relative(root, file))}.json`);
}

function userCacheFile({ file }: PipelineRequest): string {
  const { XDG_CACHE_HOME } = process.env;
  const caches = XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(homedir(), '.cache');
  return join(caches, 'tunesmith', 'pipelines', `${sha256(file)}.json`);
}

let stamp: string | undefined;

/** Identifies this tunesmith: by version and time of installation if installed, by the state of its files in a checkout. */
function installationStamp(): string {
  stamp ??= stampOf(fileURLToPath(new URL('../..', import.meta.url)));
  return stamp;
}

function stampOf(folder: string): string {
  // The same version may be packed and installed again with other content.
  if (/[\\/]node_modules[\\/]/.test(folder))
    return `${packageVersion(join(folder, '..'))} ${statSync(join(folder, '..', 'package.json')).ctimeMs}`;
  // The compiler writes the state of its sources to this file.
  const compiled = statSync(join(folder, '.tsbuildinfo'), { throwIfNoEntry: false });
  if (compiled) return `${compiled.mtimeMs} ${compiled.size}`;
  const hash = createHash('sha256');
  for (const part of ['engine', 'steps'].map((name) => join(folder, name))) {
    for (const name of readdirSync(part, { recursive: true, encoding: 'utf8' })) {
      if (!/(?<!\.d)\.[jt]s$/.test(name)) continue;
      const { mtimeMs, size } = statSync(join(part, name));
      hash.update(`${name} ${mtimeMs} ${size}\n`);
    }
  }
  return hash.digest('hex');
}
