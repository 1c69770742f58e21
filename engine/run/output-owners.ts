/**
 * Outputs of built-in steps are in `.tunesmith/outputs/<name of the pipeline>/`. Two pipelines with the same name in one
 * project would overwrite each other's outputs, so the second one is refused.
 */

import { readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileName, type Pipeline } from '../cell.ts';
import { InvalidError } from '../errors.ts';
import { within } from '../files/glob.ts';
import { compareBytes } from '../format/scalars.ts';
import { openProject, type Project } from './project.ts';

/**
 * Throws InvalidError if another existing pipeline that ran in this project has the same name, or one of the files `others`,
 * which need not have run.
 */
export function refuseSharedOutputs(
  { name, file, cells }: Pipeline,
  { root, places, records }: Pick<Project, 'root' | 'places' | 'records'>,
  others: string[] = [],
): void {
  const own = join(places.own, 'outputs');
  if (!cells.some(({ outputs }) => Object.values(outputs).some(({ path }) => within(path, own)))) return;
  const here = relative(root, file);
  for (const other of new Set([...records.pipelines(), ...others.map((path) => relative(root, resolve(path)))])) {
    if (other === here || !sharesName(join(root, other), name)) continue;
    throw new InvalidError([
      {
        file: '',
        line: 0,
        column: 0,
        length: 0,
        message: `${other} and ${here} have the same name, ${name}, so their outputs would overwrite each other in ${relative(root, own)}/${fileName(name)}`,
        hint: `Give one of them another name, for example \`name: ${basename(dirname(resolve(file))) || 'other'}-${name}\` in ${here}.`,
      },
    ]);
  }
}

/** Reads the line without a YAML parser, which a run with nothing to do does not load. */
function sharesName(file: string, name: string): boolean {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return false; // renamed or removed, so the new pipeline with this name owns the outputs
  }
  if (!/\buses\b/.test(text)) return false;
  const [, quoted = '', bare = ''] = /^["']?name["']?:[ \t]+(?:(["'].*["'])|(.*?))[ \t]*(?:[ \t]#.*)?\r?$/m.exec(text) ?? [];
  const written = quoted.slice(1, -1) || bare || basename(file).replace(/\.ya?ml$/, '');
  return fileName(written) === fileName(name);
}

/* Outputs of a past run, copied from the cache, even if the pipeline makes other ones now. */

export interface PastOutput {
  cell: string;
  output: string;
  /** Path of the copy. */
  path: string;
}

export interface PastOutputs {
  outputs: PastOutput[];
  /** Matching cells whose results are no longer stored. */
  gone: string[];
}

/** `wanted`: selects cells and outputs. `into`: a folder for the copies. */
export async function pastOutputs(
  pipeline: Pick<Pipeline, 'root'>,
  run: number,
  wanted: (cell: string, output?: string) => boolean,
  into: string,
): Promise<PastOutputs> {
  const project = openProject(pipeline, false, () => {});
  try {
    const past: PastOutputs = { outputs: [], gone: [] };
    for (const [cell, fingerprint] of project.records.fingerprints(run)) {
      if (!wanted(cell)) continue;
      const outputs = Object.entries(project.cache.index.find(fingerprint)?.outputs ?? {});
      let stored = 0;
      for (const [output, content] of outputs) {
        if ((await project.cache.objects.state(content)) !== 'ok') continue;
        stored++;
        if (!wanted(cell, output)) continue;
        const path = join(into, fileName(cell), output);
        await project.cache.objects.restore(content, path);
        past.outputs.push({ cell, output, path });
      }
      if (stored === 0) past.gone.push(cell);
    }
    // The records have cells in the order in which they ended.
    past.outputs.sort((a, b) => compareBytes(a.cell, b.cell));
    return past;
  } finally {
    project.close();
  }
}
