/**
 * Joins the compiled engine and cache into one file for each kind of process. Finding and linking two hundred files takes Node
 * longer than a small plan. A module in a joined file still runs only when it is imported, and so do Node's modules and packages.
 * The step contract is a file of its own, which steps and the engine share. Steps stay as the compiler wrote them, except two files,
 * which become one with the large package that they import.
 */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { type BuildOptions, build, type OnLoadArgs, type OnLoadResult, type OnResolveArgs, type OnResolveResult } from 'esbuild';

/** Packages that become part of our files. NOTICE contains their licences. */
export const BUNDLED = ['commander', 'picocolors', 'yaml'];

const CONTRACT = 'engine/contract/step';
/** The files that Node is started with: the command, the processes of steps, and a thread. And the contract. */
const ENTRIES = [
  'engine/commands/command-line',
  'engine/run/process/step-process',
  'engine/pipeline/describe-child',
  'cache/digest-worker',
  CONTRACT,
];
/** The YAML parser has a file of its own, because a run in which all cells are fresh does not load it. */
const YAML = 'engine/yaml.cjs';
/**
 * Only a run that starts a child process needs execa. It and the packages that it uses are 150 small files, which take Node
 * twice as long to load as a run of one cell takes otherwise.
 */
const EXECA = 'engine/execa.cjs';
/** The licences of the packages in that file. */
export const EXECA_LICENSES = 'engine/execa.licenses.txt';
/** Node's modules that every command needs. The others, such as child_process, are loaded when one of their functions is called. */
const EARLY = ['buffer', 'crypto', 'events', 'fs', 'module', 'os', 'path', 'process', 'url', 'util'];
/** Replaces `import.meta` in a joined file, which is in another folder than the original file. */
const PLACES = `
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
const dist = import.meta.url.slice(0, import.meta.url.lastIndexOf('/dist/') + 6);
export const urlInDist = (name) => dist + name;
export const folderInDist = (name) => fileURLToPath(dist + name);
export const requireInDist = (name) => createRequire(dist)(name);
`;
/**
 * The only files of the steps that import DuckDB and TensorFlow.js. These packages are hundreds of files, and most of TensorFlow.js
 * is for browsers, files of models and layers. Loading what is needed, from one file, takes half as long.
 */
const WITH_PACKAGE = ['steps/ml/data/database', 'steps/ml/runtime/tfjs'];
/** What becomes part of those files. NOTICE contains their licences. */
export const BUNDLED_IN_STEPS = ['@duckdb/node-api', '@tensorflow/tfjs', '@tensorflow/tfjs-backend-cpu', '@tensorflow/tfjs-core', 'long'];
/** Packages that TensorFlow.js loads, and that only functions use which tunesmith never calls. */
const UNUSED = /^(@tensorflow\/tfjs-(backend-webgl|converter|data|layers)|seedrandom)$/;
/** DuckDB's native part, which only its own package is sure to find. */
const NATIVE = '@duckdb/node-bindings';
const NATIVE_FOUND = `module.exports = requireFrom(require.resolve('@duckdb/node-api'))('${NATIVE}');`;
const REQUIRE = `import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(import.meta.url);`;
const JOINED: BuildOptions = { bundle: true, platform: 'node', target: 'node22.15', minifyWhitespace: true, logLevel: 'warning' };

export async function bundle(dist: string): Promise<void> {
  const places = join(dist, 'places.js');
  writeFileSync(places, PLACES);
  const out = mkdtempSync(join(dist, 'bundle-'));
  await build({
    ...JOINED,
    entryPoints: ENTRIES.map((name) => ({ in: join(dist, `${name}.js`), out: name })),
    format: 'esm',
    outdir: out,
    inject: [places],
    absWorkingDir: dist,
    plugins: [
      {
        name: 'engine',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /.*/ }, (asked) => resolved(asked, dist));
          onLoad({ filter: /.*/, namespace: 'node' }, ({ path }) => ({ contents: nodeModule(path) }));
          onLoad({ filter: /.*/, namespace: 'later' }, ({ path }) => ({
            contents: `const load = () => process.getBuiltinModule('${path}');
              module.exports = ${EARLY.includes(path) ? 'load()' : 'Object.create(new Proxy({}, { get: (_, name) => load()[name] }))'};`,
          }));
          onLoad({ filter: /.*/, namespace: 'package' }, ({ path }) => ({
            contents: `module.exports = requireInDist(${JSON.stringify(path === 'yaml' ? `./${YAML}` : path)});`,
          }));
          onLoad({ filter: /\.js$/ }, (asked) => loaded(asked, dist));
        },
      },
    ],
  });
  rmSync(places);
  for (const file of compiledFiles(dist)) rmSync(join(dist, file));
  for (const file of ENTRIES.map((name) => `${name}.js`)) {
    const text = readFileSync(join(out, file), 'utf8');
    writeFileSync(
      join(out, file),
      text.replace(SHARED, (_, to: string) => `"${relativeImport(file, to)}"`),
    );
    renameSync(join(out, file), join(dist, file));
  }
  rmSync(out, { recursive: true });
  await build({ ...JOINED, stdin: { contents: "module.exports = require('yaml')", resolveDir: dist }, outfile: join(dist, YAML) });
  const stdin = { contents: "export { execa } from 'execa'", resolveDir: dist };
  const { metafile } = await build({ ...JOINED, stdin, format: 'cjs', outfile: join(dist, EXECA), metafile: true });
  writeFileSync(join(dist, EXECA_LICENSES), licencesOf(Object.keys(metafile.inputs)));
  await joinPackages(dist);
}

/** Replaces files of steps by ones that contain their package. */
async function joinPackages(dist: string): Promise<void> {
  await build({
    ...JOINED,
    entryPoints: WITH_PACKAGE.map((name) => join(dist, `${name}.js`)),
    format: 'esm',
    outdir: dist,
    outbase: dist,
    allowOverwrite: true,
    banner: { js: REQUIRE },
    plugins: [
      {
        name: 'packages',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /.*/ }, ({ path, kind, importer }) => {
            if (kind === 'entry-point') return undefined;
            if (UNUSED.test(path)) return { path, namespace: 'unused' };
            if (path === NATIVE) return { path, namespace: 'native' };
            const own = !importer.includes('node_modules');
            if (path.startsWith('.')) return own ? { path, external: true } : undefined;
            return BUNDLED_IN_STEPS.some((name) => path === name || path.startsWith(`${name}/`)) ? undefined : { path, external: true };
          });
          onLoad({ filter: /.*/, namespace: 'unused' }, () => ({ contents: '' }));
          onLoad({ filter: /.*/, namespace: 'native' }, () => ({ contents: NATIVE_FOUND }));
        },
      },
    ],
  });
}

function licencesOf(files: string[]): string {
  const folders = files.flatMap((file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []);
  return [...new Set(folders)]
    .sort()
    .map((folder) => {
      const name = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
      if (!name) throw new Error(`${folder} has no licence, which is published with the code that is made from it`);
      return `${folder.slice(folder.lastIndexOf('node_modules/') + 13)}\n\n${readFileSync(join(folder, name), 'utf8').trim()}\n`;
    })
    .join('\n---\n\n');
}

/** Undefined if esbuild itself finds the file. */
function resolved({ path, kind, importer, resolveDir }: OnResolveArgs, dist: string): OnResolveResult | undefined {
  if (kind === 'entry-point') return undefined;
  const name = path.replace(/^node:/, '');
  if (builtinModules.includes(name)) return { path: name, namespace: kind !== 'require-call' && EARLY.includes(name) ? 'node' : 'later' };
  if (importer.startsWith(dist) && path.startsWith('.')) {
    const file = relative(dist, join(resolveDir, path));
    return (file.startsWith('steps/') && file !== 'steps/registry.js') || file === `${CONTRACT}.js`
      ? { path: `shared:${file}`, external: true }
      : undefined;
  }
  if (!importer.startsWith(dist) || path.startsWith('/')) return undefined;
  if (kind === 'dynamic-import') return { path: path === 'execa' ? `shared:${EXECA}` : path, external: true };
  return BUNDLED.includes(path) && path !== 'yaml' ? undefined : { path, namespace: 'package' };
}

/** One of Node's own modules. esbuild removes the names that nobody imports. */
function nodeModule(name: string): string {
  const names = Object.keys(process.getBuiltinModule(name)!).filter((key) => /^[A-Za-z]\w*$/.test(key) && key !== 'default');
  return `
const builtin = process.getBuiltinModule('${name}');
const pick = (key) => builtin[key];
export { builtin as default };
${names.map((key, i) => `const own${i} = /* @__PURE__ */ pick('${key}'); export { own${i} as ${key} };`).join('\n')}`;
}

function loaded({ path }: OnLoadArgs, dist: string): OnLoadResult | undefined {
  const file = relative(dist, path);
  if (!/^(engine|cache)\//.test(file)) return undefined;
  const { version, dependencies } = JSON.parse(readFileSync(join(dist, '../package.json'), 'utf8'));
  const contents = readFileSync(path, 'utf8')
    .replaceAll("createRequire(import.meta.url)('tunesmith/package.json')", `(${JSON.stringify({ version, dependencies })})`)
    .replaceAll('import.meta.url', `urlInDist(${JSON.stringify(file)})`)
    .replaceAll('import.meta.dirname', `folderInDist(${JSON.stringify(dirname(file))})`);
  return { contents };
}

const SHARED = /"shared:([^"]+)"/g;

function relativeImport(from: string, to: string): string {
  const path = relative(dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}

/** All compiled code of the engine and the cache, except cli.js, which an older Node must be able to read, and the API of steps. */
function compiledFiles(dist: string): string[] {
  return ['engine', 'cache'].flatMap((folder) =>
    readdirSync(join(dist, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((file) => file.endsWith('.js') && !['engine/cli.js', 'engine/index.js'].includes(file)),
  );
}
