/**
 * Joins the compiled engine and cache into a few files, together with small packages that they always load: Node takes
 * longer to find and link two hundred files than a small plan takes. What a command loads lazily stays in files of its own
 * (engine/chunks/). Steps and what they import of the engine stay as the compiler wrote them: both sides share these files.
 */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { build, type OnLoadArgs, type OnLoadResult, type OnResolveArgs, type OnResolveResult } from 'esbuild';

/** They become part of our files; their licences stand in NOTICE. */
export const BUNDLED = ['commander', 'picocolors', 'yaml'];

/** What Node is started on: the command, the processes of steps, and a thread. */
const ENTRIES = [
  'engine/commands/command-line',
  'engine/run/process/step-process',
  'engine/pipeline/describe-child',
  'cache/digest-worker',
];
/** A bundled file takes the place of others in other folders: where each of them was, it is told from here. */
const PLACES = `
import { fileURLToPath } from 'node:url';
const dist = import.meta.url.slice(0, import.meta.url.lastIndexOf('/dist/') + 6);
export const urlInDist = (name) => dist + name;
export const folderInDist = (name) => fileURLToPath(dist + name);
`;

export async function bundle(dist: string): Promise<void> {
  const shared = sharedFiles(dist);
  const places = join(dist, 'places.js');
  writeFileSync(places, PLACES);
  const out = mkdtempSync(join(dist, 'bundle-'));
  const { metafile } = await build({
    entryPoints: ENTRIES.map((name) => ({ in: join(dist, `${name}.js`), out: name })),
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22.15',
    outdir: out,
    chunkNames: 'engine/chunks/[name]-[hash]',
    inject: [places],
    minifyWhitespace: true,
    metafile: true,
    absWorkingDir: dist,
    logLevel: 'warning',
    plugins: [
      {
        name: 'engine',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /.*/ }, (asked) => resolved(asked, dist, shared));
          onLoad({ filter: /.*/, namespace: 'node' }, ({ path }) => ({
            contents: `module.exports = process.getBuiltinModule('${path}');`,
          }));
          onLoad({ filter: /\.js$/ }, (asked) => loaded(asked, dist));
        },
      },
    ],
  });
  rmSync(places);
  for (const file of compiledFiles(dist)) if (!shared.has(file)) rmSync(join(dist, file));
  const outputs = Object.keys(metafile.outputs).map((file) => relative(out, join(dist, file)));
  for (const file of outputs) {
    const text = readFileSync(join(out, file), 'utf8');
    writeFileSync(
      join(out, file),
      text.replace(SHARED, (_, to: string) => `"${relativeImport(file, to)}"`),
    );
  }
  for (const part of ['engine/chunks', ...ENTRIES.map((name) => `${name}.js`)]) renameSync(join(out, part), join(dist, part));
  rmSync(out, { recursive: true });
}

/** The command's first file, which older versions of Node must be able to read, and what `import … from 'tunesmith'` reaches. */
function sharedFiles(dist: string): Set<string> {
  const shared = new Set(['engine/cli.js', 'engine/index.js']);
  for (const file of shared) {
    const imports = readFileSync(join(dist, file), 'utf8').matchAll(/ from '(\.[^']+)'/g);
    for (const [, path] of imports) shared.add(join(dirname(file), path!));
  }
  return shared;
}

/** Undefined where esbuild finds it itself. */
function resolved({ path, kind, importer, resolveDir }: OnResolveArgs, dist: string, shared: Set<string>): OnResolveResult | undefined {
  if (kind === 'entry-point') return undefined;
  // CommonJS asks for Node's own modules by `require`, which a module does not have.
  if (kind === 'require-call' && builtinModules.includes(path.replace(/^node:/, ''))) return { path, namespace: 'node' };
  if (importer.startsWith(dist) && path.startsWith('.')) {
    const file = relative(dist, join(resolveDir, path));
    return file.startsWith('steps/') || shared.has(file) ? { path: `shared:${file}`, external: true } : undefined;
  }
  const isPackage = importer.startsWith(dist) && !path.startsWith('/');
  return isPackage && !BUNDLED.includes(path) ? { path, external: true } : undefined;
}

function loaded({ path }: OnLoadArgs, dist: string): OnLoadResult | undefined {
  const file = relative(dist, path);
  if (!/^(engine|cache)\//.test(file)) return undefined;
  const contents = readFileSync(path, 'utf8')
    .replaceAll('import.meta.url', `urlInDist(${JSON.stringify(file)})`)
    .replaceAll('import.meta.dirname', `folderInDist(${JSON.stringify(dirname(file))})`);
  return { contents };
}

const SHARED = /"shared:([^"]+)"/g;

function relativeImport(from: string, to: string): string {
  const path = relative(dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}

/** Of the engine and the cache, all that runs. */
function compiledFiles(dist: string): string[] {
  return ['engine', 'cache'].flatMap((folder) =>
    readdirSync(join(dist, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.js'))
      .map((name) => join(folder, name)),
  );
}
