/** Reads JSON files of model and token folders, with messages for what is wrong with them. */

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';

/** The file must contain an object. */
export async function readJson(file: string): Promise<Record<string, unknown>> {
  const text = await readText(file);
  const name = `${path.basename(file)} of ${shown(path.dirname(file))}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new StepError(`${name} is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new StepError(`${name} is not a JSON object`);
  return value as Record<string, unknown>;
}

/** Reads a text file, such as a vocabulary. */
export async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new StepError(`${path.basename(file)} of ${shown(path.dirname(file))} cannot be read: ${(error as Error).message}`);
  }
}

/** How messages show a folder: its last two parts. */
export const shown = (folder: string): string => folder.split(path.sep).slice(-2).join('/');

/** Names for a message: all of a few, the first of many. */
export function listed(names: string[], most = 8, separator = ', '): string {
  return names.length <= most ? names.join(separator) : `${names.slice(0, most).join(separator)} and ${names.length - most} more`;
}
