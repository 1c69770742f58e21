/** The files that a pipeline reads but does not make: the pipeline file, its parameters, inputs and the code of steps. */

import { type BigIntStats, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { namesIn } from '../../cache/atomic-move.ts';
import { sha256 } from '../../cache/digest.ts';
import type { Pipeline } from '../contract/cell.ts';
import { type Code, codeOf } from '../contract/step-code.ts';
import { isByProduct, matches } from '../files/glob.ts';

/** The state of each file by path: its timestamps or the hash of its content. */
export type WatchSnapshot = Map<string, string>;

/** The state of the pipeline file and of the --params file. Call it before they are read. */
export function textStates(file: string, params: string | undefined): WatchSnapshot {
  return new Map([file, ...(params === undefined ? [] : [params])].map((path) => [resolve(path), contentState(resolve(path))]));
}

/** The state of the code of steps when it was read. */
export async function codeStates({ cells }: Pipeline): Promise<WatchSnapshot> {
  const modules = cells.flatMap(({ action }) => (action.kind === 'step' && 'path' in action.module ? [action.module.path] : []));
  const states: WatchSnapshot = new Map();
  for (const module of new Set(modules)) {
    const code: Code = await codeOf(module);
    for (const [name, hash] of Object.entries(code.files)) states.set(resolve(dirname(module), name), hash);
  }
  return states;
}

/** The current state of all files. `known`: the files that are compared by content. */
export function currentStates(pipeline: Pipeline, known: Iterable<string>): WatchSnapshot {
  return new Map([...[...known].map((path) => [path, contentState(path)] as const), ...inputStates(pipeline)]);
}

/** Inputs that no cell makes, including every file of a folder. */
export function inputStates({ folder, root, cells }: Pipeline): WatchSnapshot {
  const made = new Set(cells.flatMap(({ outputs }) => Object.values(outputs).map(({ path }) => path)));
  made.add(join(root, '.tunesmith'));
  const isMade = (path: string): boolean => made.has(path) || (dirname(path) !== path && isMade(dirname(path)));
  const states: WatchSnapshot = new Map();
  const add = (path: string) => {
    if (states.has(path) || isMade(path)) return;
    const stat = statAt(path);
    states.set(path, stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.mode}` : 'nothing');
    if (!stat?.isDirectory()) return;
    // The timestamps of a folder change when files are created in it.
    states.set(path, 'folder');
    for (const name of namesIn(path)) if (!isByProduct(name, isFolder(join(path, name)))) add(join(path, name));
  };
  const patterns = new Map<string, boolean>();
  for (const { inputs, enabled } of cells) {
    for (const source of enabled ? Object.values(inputs).flatMap(({ sources }) => sources) : []) {
      if (source.kind === 'path') patterns.set(source.pattern, source.glob);
    }
  }
  for (const [pattern, glob] of patterns) for (const path of glob ? matchesNow(pattern, folder) : [resolve(folder, pattern)]) add(path);
  return states;
}

/** Ignores unreadable files, which the run reports. */
function matchesNow(pattern: string, folder: string): string[] {
  try {
    return matches(pattern, folder);
  } catch {
    return [];
  }
}

function contentState(path: string): string {
  try {
    return sha256(readFileSync(path));
  } catch {
    return 'nothing';
  }
}

function statAt(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function isFolder(path: string): boolean {
  return statAt(path)?.isDirectory() ?? false;
}
