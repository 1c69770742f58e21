/** The source files of a custom step for the records, so that a later run can report which lines changed. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Cell } from '../pipeline/pipeline.ts';
import { type Components, sha256 } from './fingerprint.ts';

/** Texts by SHA-256. Leaves out binary files, very large files, and files that have changed in the meantime. */
export function codeTexts({ action }: Cell, { code }: Components): Map<string, string> {
  const texts = new Map<string, string>();
  if (!code || action.kind !== 'step' || !('path' in action.module)) return texts;
  const folder = dirname(action.module.path);
  for (const [file, hash] of Object.entries(code.files)) {
    const text = textAt(resolve(folder, file));
    if (text !== undefined && sha256(text) === hash) texts.set(hash, text);
  }
  return texts;
}

function textAt(path: string): string | undefined {
  try {
    const bytes = readFileSync(path);
    return bytes.length > LARGEST || bytes.includes(0) ? undefined : bytes.toString();
  } catch {
    return undefined;
  }
}

const LARGEST = 1 << 20;
