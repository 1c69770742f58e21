/** Resolves `uses`: a built-in step, a file of the user, or an installed package. */

import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { readCachedText, writeCachedText } from '../../cache/atomic-move.ts';
import { builtin, builtinNames } from '../../steps/registry.ts';
import { nodeArguments } from '../contract/load-step.ts';
import { type Code, CodeError, codeOf } from '../contract/step-code.ts';
import { packageFolder } from '../files/packages.ts';
import { atHome } from '../files/paths.ts';
import { didYouMean, nearest } from '../format/did-you-mean.ts';
import type { ParseContext, ResolvedStep } from './drafts.ts';
import { isOwnFile, PACKAGE } from './environment.ts';
import type { Declaration } from './schema.ts';

/** Undefined if there is no such step or it cannot be loaded, which `wrong` reports. */
export async function resolveStep(
  uses: string,
  context: ParseContext,
  wrong: (message: string, hint?: string) => void,
): Promise<ResolvedStep | undefined> {
  const own = await builtin(uses);
  if (own) {
    const { run, check, foresee, ...definition } = own;
    return { uses, module: { builtin: uses }, definition, check, foresee };
  }
  const path = context.environment.resolveModule(uses);
  if (path === undefined) {
    if (isOwnFile(uses)) reportMissingFile(uses, context, wrong);
    else reportMissingPackage(uses, context, wrong);
    return undefined;
  }
  const described = await describeStep(path, context);
  if ('definition' in described) {
    await context.environment.hashCode(uses, path);
    return { uses, module: { path }, definition: described.definition };
  }
  wrong(`${uses}: ${described.message}`, described.hint);
  return undefined;
}

function reportMissingFile(uses: string, { folder }: ParseContext, wrong: (message: string, hint?: string) => void): void {
  const path = resolve(folder, atHome(uses));
  const beside = existsSync(dirname(path)) ? readdirSync(dirname(path)).filter((file) => /\.[cm]?[jt]s$/.test(file)) : [];
  const stem = (file: string) => file.replace(/\.[cm]?[jt]s$/, '');
  const meant = nearest(stem(basename(path)), beside.map(stem));
  const near = beside.find((file) => stem(file) === stem(basename(path))) ?? beside.find((file) => stem(file) === meant);
  const named = near && `${uses.slice(0, uses.length - basename(uses).length)}${near}`;
  if (existsSync(path)) wrong(`${uses} is not a step`, named ? `did you mean ${named}?` : 'A step is a .ts, .js or .mjs file.');
  else wrong(`there is no file ${uses}`, named ? `did you mean ${named}?` : '`tunesmith new-step` creates an example of a step.');
}

function reportMissingPackage(uses: string, { folder }: ParseContext, wrong: (message: string, hint?: string) => void): void {
  const [, name, sub] = PACKAGE.exec(uses) ?? [];
  if (name !== undefined && packageFolder(name, folder) !== undefined) {
    wrong(`the package ${name} has no module ${sub === undefined ? 'to import' : `.${sub}`}`, 'The package is not a step.');
    return;
  }
  const file = ['', '.ts', '.js', '.mjs']
    .map((end) => `${uses}${end}`)
    .find((file) => /\.[cm]?[jt]s$/.test(file) && existsSync(join(folder, file)));
  const steps = didYouMean(uses, builtinNames(), 'steps');
  wrong(
    `there is no step "${uses}"`,
    file ? `To use the file, write ./${file}` : `${steps}\nWrite a custom step as ./my-step.ts. A package must be installed.`,
  );
}

export type StepDescription = { definition: Declaration } | { message: string; hint?: string };

/** The declaration of a custom step, which a child process reads. It is cached by the hash of the step's code, unless `readOnly`. */
export async function describeStep(
  path: string,
  { root, readOnly, patience = 30_000 }: { root: string; readOnly?: boolean; patience?: number },
): Promise<StepDescription> {
  let code: Code;
  try {
    code = await codeOf(path, { root }); // not cached, so that a module that is no step leaves no files behind
  } catch (error) {
    if (error instanceof CodeError) return { message: error.message };
    throw error;
  }
  const file = join(root, '.tunesmith', 'descriptions', `${code.hash}.json`);
  const cached = readCachedText(file);
  if (cached !== undefined) return { definition: JSON.parse(cached) as Declaration };
  const description = await describeInChild(path, patience);
  if ('definition' in description && !readOnly) writeCachedText(file, JSON.stringify(description.definition));
  return description;
}

async function describeInChild(path: string, patience: number): Promise<StepDescription> {
  const { execa } = await import('execa');
  const module = nodeArguments(new URL(`./describe-child${extname(import.meta.url)}`, import.meta.url));
  const child = execa(process.execPath, [...module, path], {
    cwd: dirname(path),
    ipc: true,
    serialization: 'json',
    stdin: 'ignore',
    stdout: 'ignore',
    reject: false,
    timeout: patience,
    forceKillAfterDelay: 1000,
  });
  const [answer, result] = await Promise.all([child.getOneMessage().catch(() => undefined), child]);
  if (answer) return answer as StepDescription;
  const hint = 'Do the work in `run`, not while the module loads.';
  if (result.timedOut) return { message: `it was still loading after ${patience / 1000} s`, hint };
  if (result.exitCode === NEVER_SETTLED) return { message: 'it awaits a promise at its top level that never settles', hint };
  return {
    message: `Node ended while loading it (${result.signal ?? `exit code ${result.exitCode}`})`,
    hint: result.stderr?.trim().split('\n').at(-1) || undefined,
  };
}

/** Node's own exit code for a module that still awaits when nothing is left to run. */
const NEVER_SETTLED = 13;
