/** Which folder may import which (docs/architecture.md, "Layers"). Imports of types and imports on demand count, too. */
import { expect, test } from 'vitest';
import { folderOf, type Import, importsOf, readJson, sources } from './sources.ts';

const files = ['engine', 'cache', 'steps', 'pipelines'].flatMap(sources);
const imports = files.flatMap(importsOf);
const own = imports.filter(({ to }) => to.endsWith('.ts'));
const ours = files.filter((file) => !file.startsWith('pipelines/'));

/** What the folders of the engine share. */
const SHARED = 'engine/contract/';

/** What a step may know of the engine. */
const CONTRACT = 'engine/contract/step.ts';

/** What the engine may know of the steps. */
const REGISTRY = 'steps/registry.ts';

/** A built-in step's folder: it holds a step.ts. */
const stepFolders = files.filter((file) => /^steps\/[^/]+\/step\.ts$/.test(file)).map((file) => file.split('/')[1]!);

test('every relative import names a file that exists', () => {
  const known = new Set(files);
  expect(own.filter(({ to }) => !known.has(to)).map(arrow)).toEqual([]);
});

test('no file imports itself through other files', () => {
  expect(circles(ours, (file) => own.filter((one) => one.from === file).map(({ to }) => to))).toEqual([]);
});

test('no folder imports itself through other folders', () => {
  const between = own.filter(({ from, to }) => folderOf(from) !== folderOf(to));
  const folders = [...new Set(ours.map(folderOf))];
  expect(circles(folders, (folder) => between.filter(({ from }) => folderOf(from) === folder).map(({ to }) => folderOf(to)))).toEqual([]);
});

test.each([
  // Each folder, and what it may import beside itself.
  ['cache/', []],
  ['engine/format/', []],
  ['engine/files/', ['cache/', 'engine/format/']],
  ['engine/contract/', ['cache/', 'engine/format/', 'engine/files/']],
  ['engine/fetch/', ['cache/', 'engine/format/', 'engine/files/', SHARED]],
  ['engine/pipeline/', ['cache/', 'engine/format/', 'engine/files/', SHARED, REGISTRY]],
  ['engine/run/', ['cache/', 'engine/format/', 'engine/files/', SHARED, REGISTRY, 'engine/fetch/', 'engine/pipeline/']],
  ['engine/run/process/', ['cache/', 'engine/format/', 'engine/files/', SHARED, REGISTRY, 'engine/pipeline/']],
  ['engine/report/', ['cache/', 'engine/format/', 'engine/files/', SHARED, 'engine/pipeline/', 'engine/run/']],
  ['steps/ml/data/', [CONTRACT]],
  ['steps/ml/runtime/', [CONTRACT]],
  ['steps/ml/device/', [CONTRACT, 'steps/ml/runtime/']],
  ['steps/ml/models/', [CONTRACT, 'steps/ml/runtime/', 'steps/ml/data/']],
  ['steps/ml/metrics/', [CONTRACT, 'steps/ml/models/', 'steps/ml/runtime/']],
  ['steps/ml/tasks/', [CONTRACT, 'steps/ml/']],
  ['steps/ml/generation/', [CONTRACT, 'steps/ml/']],
  ['steps/ml/answering/', [CONTRACT, 'steps/ml/']],
  ['steps/ml/hub/', [CONTRACT, 'steps/ml/']],
  ['steps/choose/', [CONTRACT, 'steps/ml/']],
  ['steps/preview/', [CONTRACT, 'steps/ml/']],
  ['steps/serving/', [CONTRACT, 'steps/ml/']],
  ...stepFolders.map((folder) => [`steps/${folder}/`, [CONTRACT, 'steps/ml/']] as const),
] as const)('%s imports only what lies below it', (folder, below) => {
  const allowed = (to: string) => to.startsWith(folder) || below.some((one) => to.startsWith(one));
  expect(own.filter(({ from, to }) => from.startsWith(folder) && !allowed(to)).map(arrow)).toEqual([]);
});

test('the engine imports the cache, and of the steps only their registry', () => {
  const wrong = own.filter(({ from, to }) => from.startsWith('engine/') && !/^(engine|cache)\//.test(to) && to !== REGISTRY);
  expect(wrong.map(arrow)).toEqual([]);
});

test('models read no YAML', () => {
  expect(imports.filter(({ from, to }) => from.startsWith('steps/ml/models/') && to === 'yaml')).toEqual([]);
});

test('onnxruntime is imported where its telemetry is switched off', () => {
  expect(imports.filter(({ to, lazy }) => to === 'onnxruntime-node' && !lazy).map(({ from }) => from)).toEqual([
    'steps/ml/runtime/onnx/library.ts',
  ]);
});

test('the CLI and every declaration of a step start without a tensor library, DuckDB, a tokenizer or a client of the hub', () => {
  const heavy =
    /^(@tensorflow\/|onnxruntime|@duckdb\/|tokenizers$|hono|@hono\/|@huggingface\/hub$|tar$|yauzl$|postal-mime|html-to-text|tsx|esbuild)/;
  const start = ['engine/commands/command-line.ts', ...stepFolders.map((folder) => `steps/${folder}/step.ts`)];
  expect(loadedAtOnce(start, heavy)).toEqual([]);
});

test('a run with nothing to do loads no YAML parser and no schema compiler', () => {
  const start = ['engine/commands/run.ts', 'engine/run/run.ts', 'engine/pipeline/index.ts', 'engine/contract/step-code.ts'];
  expect(loadedAtOnce(start, /^(yaml|ajv)$/)).toEqual([]);
});

test('answering loads no DuckDB, which only reads the data of a training and files of Parquet', () => {
  const start = ['generation-thread', 'predict', 'prediction-thread', 'serve'].map((name) => `steps/serving/${name}.ts`);
  expect(loadedAtOnce(start, /^@duckdb\//)).toEqual([]);
});

test('every package that is imported is a dependency, and every dependency is imported', () => {
  const { dependencies, optionalDependencies } = readJson('package.json');
  const published = imports.filter((one) => !one.from.startsWith('pipelines/') && !one.to.endsWith('.ts') && !/^node:|\$\{/.test(one.to));
  const packages = new Set(published.map(({ to }) => to.match(/^(@[^/]+\/)?[^/]+/)![0]));
  const declared = new Set([...Object.keys(dependencies), ...Object.keys(optionalDependencies)]);
  expect([...packages].filter((name) => !declared.has(name) && name !== 'tunesmith')).toEqual([]);
  // The types of Node are for the editor of whoever writes a step: engine/index.ts refers to them.
  expect(Object.keys(dependencies).filter((name) => !packages.has(name))).toEqual(['@types/node']);
});

/** The imports of packages that are loaded with these files, before anything is imported on demand. */
function loadedAtOnce(files: string[], packages: RegExp): string[] {
  const reached = new Set<string>();
  const queue = [...files];
  while (queue.length) {
    const file = queue.pop()!;
    if (reached.has(file)) continue;
    reached.add(file);
    for (const one of own) if (one.from === file && !one.typeOnly && !one.lazy) queue.push(one.to);
  }
  return imports.filter(({ from, to, typeOnly, lazy }) => reached.has(from) && !typeOnly && !lazy && packages.test(to)).map(arrow);
}

const arrow = ({ from, to }: Import): string => `${from} → ${to}`;

/** The circles in a graph of imports, each as a path that ends where it begins. */
function circles(nodes: readonly string[], next: (node: string) => string[]): string[] {
  const state = new Map<string, 'open' | 'done'>();
  const found: string[] = [];
  const visit = (node: string, path: string[]): void => {
    if (state.get(node) === 'done') return;
    if (state.get(node) === 'open') {
      found.push([...path.slice(path.indexOf(node)), node].join(' → '));
      return;
    }
    state.set(node, 'open');
    for (const other of next(node)) visit(other, [...path, node]);
    state.set(node, 'done');
  };
  for (const node of nodes) visit(node, []);
  return found;
}
