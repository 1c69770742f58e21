/**
 * The direction of dependence (CONTRIBUTING.md, "Layout"), read off the imports themselves.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

interface Import {
  from: string;
  to: string;
  /** `import type` and `export type` vanish at compile time. */
  typeOnly: boolean;
  /** `import()`: loaded only when reached. */
  lazy: boolean;
}

const files = ['engine', 'cache', 'steps', 'pipelines'].flatMap(sources);
const imports = files.flatMap(importsOf);
const own = imports.filter((i) => i.to.endsWith('.ts'));

/** A built-in step's folder: it holds a step.ts. */
const stepFolders = files.filter((f) => /^steps\/[^/]+\/step\.ts$/.test(f)).map((f) => f.split('/')[1]!);
const SHARED = ['data', 'models', 'runtime', 'metrics', 'tasks', 'generation'];

test('every import of our own names a file that exists', () => {
  const known = new Set(files);
  expect(own.filter((i) => !known.has(i.to)).map((i) => `${i.from} → ${i.to}`)).toEqual([]);
});

test('cache imports nothing of ours', () => {
  expect(outside('cache/', (to) => to.startsWith('cache/'))).toEqual([]);
});

test('engine imports itself and the cache; only the registry knows steps', () => {
  expect(outside('engine/', (to, from) => /^(engine|cache)\//.test(to) || from === 'engine/registry.ts')).toEqual([]);
});

test('a step imports the step contract and what steps share, never another step', () => {
  const wrong = stepFolders.flatMap((folder) =>
    outside(
      `steps/${folder}/`,
      (to) => to === 'engine/step.ts' || to.startsWith(`steps/${folder}/`) || SHARED.some((s) => to.startsWith(`steps/${s}/`)),
    ),
  );
  expect(wrong).toEqual([]);
});

test('what steps share knows no step, no engine but the contract', () => {
  const wrong = [...SHARED, 'serving'].flatMap((folder) =>
    outside(`steps/${folder}/`, (to) => to === 'engine/step.ts' || [...SHARED, folder].some((s) => to.startsWith(`steps/${s}/`))),
  );
  expect(wrong).toEqual([]);
});

test('models know tensors and each other: no YAML, no cache, no engine but the contract', () => {
  expect(outside('steps/models/', (to) => to === 'engine/step.ts' || /^steps\/(models|runtime)\//.test(to))).toEqual([]);
  expect(imports.filter((i) => i.from.startsWith('steps/models/') && i.to === 'yaml')).toEqual([]);
});

test('the runtime knows no model', () => {
  expect(outside('steps/runtime/', (to) => to === 'engine/step.ts' || to.startsWith('steps/runtime/'))).toEqual([]);
});

test('onnxruntime is imported where its telemetry is switched off', () => {
  expect(imports.filter((i) => i.to === 'onnxruntime-node' && !i.lazy).map((i) => i.from)).toEqual(['steps/ml/runtime/onnx/library.ts']);
});

test('there is no import cycle', () => {
  const edges = new Map<string, string[]>();
  for (const i of own) if (!i.typeOnly && !i.lazy) edges.set(i.from, [...(edges.get(i.from) ?? []), i.to]);
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]): void => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    state.set(file, 'open');
    for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
    state.set(file, 'done');
  };
  for (const file of files) visit(file, []);
  expect(cycles).toEqual([]);
});

test('the CLI and every declaration of a step start without a tensor library, DuckDB, a tokenizer or a client of the hub', () => {
  const heavy =
    /^(@tensorflow\/|onnxruntime|@duckdb\/|tokenizers$|hono|@hono\/|@huggingface\/hub$|tar$|yauzl$|postal-mime|html-to-text|tsx|esbuild)/;
  const roots = ['engine/commands/command-line.ts', ...stepFolders.map((f) => `steps/${f}/step.ts`)];
  const reached = new Set<string>();
  const queue = [...roots];
  while (queue.length) {
    const file = queue.pop()!;
    if (reached.has(file)) continue;
    reached.add(file);
    for (const i of own) if (i.from === file && !i.typeOnly && !i.lazy) queue.push(i.to);
  }
  const wrong = imports.filter((i) => reached.has(i.from) && !i.typeOnly && !i.lazy && heavy.test(i.to));
  expect(wrong.map((i) => `${i.from} → ${i.to}`)).toEqual([]);
});

test('no file or folder has a name that says nothing', () => {
  expect(files.filter((f) => /(^|\/)(utils?|helpers?|managers?|common|misc)(\.ts|\/)/.test(f))).toEqual([]);
});

function outside(prefix: string, allowed: (to: string, from: string) => boolean): string[] {
  return own.filter((i) => i.from.startsWith(prefix) && !allowed(i.to, i.from)).map((i) => `${i.from} → ${i.to}`);
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.parentPath.includes('node_modules'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean, lazy: boolean) => {
    const to = specifier.startsWith('.') ? relative(root, resolve(root, dirname(file), specifier)) : specifier;
    found.push({ from: file, to, typeOnly, lazy });
  };
  for (const m of text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?['"]([^'"]+)['"]/gm))
    add(m[2]!, !!m[1], false);
  for (const m of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)) add(m[1]!, false, true);
  return found;
}

test('every package that is imported is a dependency, and every dependency is imported', () => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const published = imports.filter((i) => !i.from.startsWith('pipelines/') && !i.to.endsWith('.ts') && !/^node:|\$\{/.test(i.to));
  const packages = new Set(published.map((i) => i.to.match(/^(@[^/]+\/)?[^/]+/)![0]));
  const declared = new Set([...Object.keys(dependencies), ...Object.keys(optionalDependencies)]);
  expect([...packages].filter((name) => !declared.has(name) && name !== 'tunesmith')).toEqual([]);
  // The types of Node are for the editor of who writes a step: engine/index.ts refers to them.
  expect(Object.keys(dependencies).filter((name) => !packages.has(name))).toEqual(['@types/node']);
});
