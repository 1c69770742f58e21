/** Imports a custom step in a child process; the engine never runs a user's code. `tunesmith` resolves to this package. */
import { createRequire, registerHooks } from 'node:module';
import { basename } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type StepDefinition, StepError } from './step.ts';

export async function loadStep(path: string): Promise<StepDefinition> {
  ready ??= prepare();
  await ready;
  const loaded: unknown = /\.c[jt]s$/.test(path) ? createRequire(import.meta.url)(path) : await import(pathToFileURL(path).href);
  return validatedStep(loaded, basename(path));
}

let ready: Promise<void> | undefined;

async function prepare(): Promise<void> {
  const [esm, cjs] = await Promise.all([import('tsx/esm/api'), import('tsx/cjs/api')]);
  esm.register();
  cjs.register();
  const own = new URL(import.meta.url.endsWith('.ts') ? '../index.ts' : '../index.js', import.meta.url).href;
  // Node calls the hooks that were registered last first. These hooks handle both import and require().
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === 'tunesmith' ? { url: own, format: 'module', shortCircuit: true } : next(specifier, context),
  });
}

/** The default export, also of a CommonJS module. Throws StepError if it is no step. */
function validatedStep(loaded: unknown, file: string): StepDefinition {
  let found = loaded;
  while (isModule(found)) found = found.default;
  if (found === undefined) throw new StepError(`${file} has no default export`, 'Write `export default defineStep({ … })`.');
  const step = found as Partial<StepDefinition>;
  const wrong = (what: string, hint = '`tunesmith new-step` writes an example of a step.') =>
    new StepError(`the default export of ${file} ${what}`, hint);
  if (found === null || typeof found !== 'object') throw wrong('is not a step', 'Write `export default defineStep({ … })`.');
  if (typeof step.run !== 'function') throw wrong('is not a step: it has no function `run`');
  if (typeof step.name !== 'string' || step.name === '') throw wrong('has no `name`');
  if (typeof step.version !== 'number')
    throw wrong('has no `version`', 'Write `version: 1`, and raise it when the same inputs and options give a different result.');
  for (const key of ['outputs', 'inputs', 'options'] as const) {
    const map = step[key];
    if (map === undefined && key !== 'outputs') continue;
    if (map === null || typeof map !== 'object' || Array.isArray(map)) throw wrong(`must have a map as \`${key}\``);
  }
  for (const [key, declared] of [...Object.entries(step.inputs ?? {}), ...Object.entries(step.outputs!)]) {
    const kind = typeof declared === 'string' ? declared : declared?.kind;
    if (!['file', 'folder', 'any'].includes(kind))
      throw wrong(`declares "${key}" as ${JSON.stringify(kind)}`, 'The kind of an input or output is "file", "folder" or "any".');
  }
  const both = Object.keys(step.inputs ?? {}).find((key) => Object.hasOwn(step.options ?? {}, key));
  if (both !== undefined)
    throw wrong(`declares "${both}" both as an input and as an option`, 'Rename one of them, because `with` holds both.');
  return found as StepDefinition;
}

/** Whether the value is a module namespace, or its CommonJS equivalent. */
function isModule(value: unknown): value is { default?: unknown } {
  if (value === null || typeof value !== 'object' || 'run' in value) return false;
  return (
    '__esModule' in value ||
    'default' in value ||
    Object.prototype.toString.call(value) === '[object Module]' ||
    Object.keys(value).length === 0
  );
}

/** The arguments that start Node on one of our modules, which is TypeScript in a checkout and JavaScript in the package. */
export function nodeArguments(module: URL): string[] {
  const path = fileURLToPath(module);
  if (!path.endsWith('.ts')) return [path];
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href, path];
}
