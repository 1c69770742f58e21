/**
 * Reads the declaration of a custom step. The module runs in a child process, never in the engine. The declaration is cached
 * by the hash of the step's code, so that the child starts once per edit.
 */
import { dirname, extname, join } from 'node:path';
import { type Code, CodeError, codeOf } from '../code.ts';
import { keepText, keptText } from '../keep.ts';
import { nodeArguments } from '../load-step.ts';
import type { Declaration } from './schema.ts';

/** The message of the child. */
export type Description = { definition: Declaration } | { message: string; hint?: string };

/** `path`: the step's module. `readOnly`: do not write to the cache. */
export async function describeStep(
  path: string,
  { root, readOnly, patience = 30_000 }: { root: string; readOnly?: boolean; patience?: number },
): Promise<Description> {
  let code: Code;
  try {
    code = await codeOf(path, { root }); // not cached, so that a module that is no step leaves no files behind
  } catch (error) {
    if (error instanceof CodeError) return { message: error.message };
    throw error;
  }
  const memo = join(root, '.tunesmith', 'descriptions', `${code.hash}.json`);
  const kept = keptText(memo);
  if (kept !== undefined) return { definition: JSON.parse(kept) as Declaration };
  const description = await ask(path, patience);
  if ('definition' in description && !readOnly) keepText(memo, JSON.stringify(description.definition));
  return description;
}

async function ask(path: string, patience: number): Promise<Description> {
  const { execa } = await import('execa');
  const child = execa(
    process.execPath,
    nodeArguments(new URL(`./describe-child${extname(import.meta.url)}`, import.meta.url)).concat(path),
    {
      cwd: dirname(path),
      ipc: true,
      serialization: 'json',
      stdin: 'ignore',
      stdout: 'ignore',
      reject: false,
      timeout: patience,
      forceKillAfterDelay: 1000,
    },
  );
  const [answer, result] = await Promise.all([child.getOneMessage().catch(() => undefined), child]);
  if (answer) return answer as Description;
  if (result.timedOut)
    return { message: `it was still loading after ${patience / 1000} s`, hint: 'Do the work in `run`, not while the module loads.' };
  if (result.exitCode === NEVER_SETTLED)
    return {
      message: 'it awaits a promise at its top level that never settles',
      hint: 'Do the work in `run`, not while the module loads.',
    };
  return { message: `Node ended while loading it (${result.signal ?? `exit code ${result.exitCode}`})`, hint: lastLine(result.stderr) };
}

/** Node's own exit code for a module that still awaits when nothing is left to run. */
const NEVER_SETTLED = 13;

function lastLine(text: string | undefined): string | undefined {
  return text?.trim().split('\n').at(-1) || undefined;
}
