/** Resolves `uses`: a built-in step, a file of the user, or an installed package. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { atHome } from '../home.ts';
import { builtin, builtinNames } from '../registry.ts';
import type { StepDefinition } from '../step.ts';
import { didYouMean, nearest } from '../suggest.ts';
import { describeStep } from './describe.ts';
import { isOwnFile, PACKAGE } from './outside.ts';
import { packageFolder } from './packages.ts';
import type { StepAction } from './pipeline.ts';
import type { Reading } from './reading.ts';
import type { Declaration } from './schema.ts';

export interface Used {
  uses: string;
  module: StepAction['module'];
  definition: Declaration;
  /** The functions of a built-in step. Code of a custom step runs only in its own process. */
  check?: StepDefinition['check'];
  foresee?: StepDefinition['foresee'];
}

/** Undefined if there is no such step or it cannot be loaded, which `wrong` reports. */
export async function find(uses: string, reading: Reading, wrong: (message: string, hint?: string) => void): Promise<Used | undefined> {
  const own = await builtin(uses);
  if (own) {
    const { run, check, foresee, ...definition } = own;
    return { uses, module: { builtin: uses }, definition, check, foresee };
  }
  const path = reading.outside.module(uses);
  if (path === undefined) {
    if (isOwnFile(uses)) noFile(uses, reading, wrong);
    else noPackage(uses, reading, wrong);
    return undefined;
  }
  const described = await describeStep(path, reading);
  if ('definition' in described) {
    await reading.outside.code(uses, path);
    return { uses, module: { path }, definition: described.definition };
  }
  wrong(`${uses}: ${described.message}`, described.hint);
  return undefined;
}

function noFile(uses: string, { folder }: Reading, wrong: (message: string, hint?: string) => void): void {
  const path = resolve(folder, atHome(uses));
  const beside = existsSync(dirname(path)) ? readdirSync(dirname(path)).filter((file) => /\.[cm]?[jt]s$/.test(file)) : [];
  const stem = (file: string) => file.replace(/\.[cm]?[jt]s$/, '');
  const meant = nearest(stem(basename(path)), beside.map(stem));
  const near = beside.find((file) => stem(file) === stem(basename(path))) ?? beside.find((file) => stem(file) === meant);
  const named = near && `${uses.slice(0, uses.length - basename(uses).length)}${near}`;
  if (existsSync(path)) wrong(`${uses} is not a step`, named ? `did you mean ${named}?` : 'A step is a .ts, .js or .mjs file.');
  else wrong(`there is no file ${uses}`, named ? `did you mean ${named}?` : '`tunesmith new-step` creates an example of a step.');
}

function noPackage(uses: string, { folder }: Reading, wrong: (message: string, hint?: string) => void): void {
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
