/**
 * The code of a step: its file, the files that it imports, and the versions of the packages that it imports.
 * A bundler follows the imports and takes a tenth of a second to start. The result is therefore cached in `.tunesmith/code/`.
 * It stays valid until one of these files, or a file that could take the place of one, changes.
 */

import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { readCachedText, writeCachedText } from '../../cache/atomic-move.ts';
import { sha256 } from '../../cache/digest.ts';
import { installedVersion, packageVersion } from '../files/packages.ts';

/** A cache for one run: the code of a step, the version of a package. `run --watch` clears it before the next run. */
const all: Map<unknown, unknown>[] = [];

export function createRunCache<V>(): Map<string, V> {
  const answers = new Map<string, V>();
  all.push(answers);
  return answers;
}

export function clearRunCaches(): void {
  for (const answers of all) answers.clear();
}

export interface Code {
  /** Relative to the module's folder → SHA-256. */
  files: Record<string, string>;
  packages: Record<string, string>;
  hash: string;
}

export class CodeError extends Error {
  override name = 'CodeError';
}

/** Reads a step's code once per run. Throws CodeError. `root`: the project with cached results, which gains this one if `keep` is true. */
export async function codeOf(entry: string, { root, keep = false }: { root?: string; keep?: boolean } = {}): Promise<Code> {
  let reading = readings.get(entry);
  if (!reading) {
    reading = readCode(entry, root);
    readings.set(entry, reading);
  }
  const found = await reading;
  if (keep) {
    found.keep?.();
    delete found.keep;
  }
  return found.code;
}

/** `keep`: write a new result to `.tunesmith/code/`. */
interface ReadCode {
  code: Code;
  keep?: () => void;
}

const readings = createRunCache<Promise<ReadCode>>();

async function readCode(entry: string, root: string | undefined): Promise<ReadCode> {
  // The version of an installed package stands for its content. A package may contain several steps.
  const [, folder, name, module] = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/](.*)$/.exec(realpathSync(entry)) ?? [];
  if (folder !== undefined)
    return { code: withHash({}, { [name!.replaceAll(sep, '/')]: packageVersion(folder) }, module!.replaceAll(sep, '/')) };

  const memory = root === undefined ? undefined : join(root, '.tunesmith', 'code', `${sha256(entry)}.json`);
  const recalled = memory === undefined ? undefined : readCachedCode(memory, dirname(entry));
  if (recalled) return { code: recalled };
  const found = await bundleImports(entry);
  const code = codeIn(found);
  if (memory === undefined) return { code };
  const resolution = resolutionContext(Object.keys(found.files), dirname(entry));
  // Do not cache if a tsconfig.json extends another one, which is not tracked here.
  const further = Object.keys(resolution.settings).some((path) => /tsconfig/.test(path) && /"extends"/.test(readFileSync(path, 'utf8')));
  return further ? { code } : { code, keep: () => writeCachedText(memory, JSON.stringify({ ...found, ...resolution })) };
}

/** The files of a module, and for each package the first file that imports it. */
interface ImportedFiles {
  files: Code['files'];
  packages: Record<string, { version: string; from: string }>;
}

async function bundleImports(entry: string): Promise<ImportedFiles> {
  const { build } = await import('esbuild');
  const folder = dirname(entry);
  const { metafile } = await build({
    entryPoints: [`./${basename(entry)}`],
    absWorkingDir: folder,
    bundle: true,
    packages: 'external',
    // A tsconfig.json may map `tunesmith` to its types, which are no code of the step.
    external: ['tunesmith'],
    platform: 'node',
    format: 'esm',
    loader: { '.node': 'binary', '.wasm': 'binary', '.txt': 'text', '.sql': 'text' },
    metafile: true,
    write: false,
    outdir: folder,
    logLevel: 'silent',
  }).catch((error: { errors?: { text: string; location?: { file: string; line: number; column: number } }[] }) => {
    const [first] = error.errors ?? [];
    if (!first) throw error;
    const { file, line, column } = first.location ?? { file: basename(entry), line: 0, column: 0 };
    throw new CodeError(
      file === basename(entry) ? `line ${line}, column ${column + 1}: ${first.text}` : `${file}:${line}:${column + 1}: ${first.text}`,
    );
  });

  const { files, packages }: ImportedFiles = { files: {}, packages: {} };
  for (const [file, { imports }] of Object.entries(metafile.inputs)) {
    const path = resolve(folder, file);
    files[relative(folder, path).replaceAll(sep, '/')] = sha256(readFileSync(path));
    for (const { path: specifier, external } of imports) {
      const name = external ? packageName(specifier) : undefined;
      if (name !== undefined) packages[name] = { version: installedVersion(name, dirname(path)), from: dirname(path) };
    }
  }
  return { files, packages };
}

function readCachedCode(memory: string, folder: string): Code | undefined {
  const text = readCachedText(memory);
  if (text === undefined) return undefined;
  const kept: ImportedFiles & ResolutionContext = JSON.parse(text);
  for (const [file, hash] of Object.entries(kept.files)) if (hashAt(resolve(folder, file)) !== hash) return undefined;
  for (const [name, { version, from }] of Object.entries(kept.packages)) if (installedVersion(name, from) !== version) return undefined;
  const { rivals, settings } = resolutionContext(Object.keys(kept.files), folder);
  return JSON.stringify([rivals, settings]) === JSON.stringify([kept.rivals, kept.settings]) ? codeIn(kept) : undefined;
}

/** The other files that decide where an import leads. */
interface ResolutionContext {
  /** For each file, the files that differ only in the extension: `./clean` means clean.ts until clean.tsx exists. */
  rivals: Record<string, string[]>;
  /** Hashes of tsconfig.json and package.json in the folders above. */
  settings: Record<string, string | undefined>;
}

function resolutionContext(files: string[], folder: string): ResolutionContext {
  const rivals: ResolutionContext['rivals'] = Object.create(null);
  const settings: ResolutionContext['settings'] = Object.create(null);
  for (const file of files) {
    const path = resolve(folder, file);
    rivals[file] = namesLike(path);
    // `./clean` may also mean clean/index.ts.
    if (/^index\./.test(basename(path))) rivals[file].push(...namesLike(dirname(path)));
    for (let above = dirname(path); ; above = dirname(above)) {
      const known = join(above, 'package.json') in settings;
      for (const name of ['package.json', 'tsconfig.json']) settings[join(above, name)] = hashAt(join(above, name));
      if (known || dirname(above) === above) break;
    }
  }
  return { rivals, settings: Object.fromEntries(Object.entries(settings).filter(([, hash]) => hash !== undefined)) };
}

function namesLike(path: string): string[] {
  const [stem] = basename(path).split('.', 1);
  return readdirSync(dirname(path))
    .filter((name) => name.split('.', 1)[0] === stem)
    .sort();
}

function codeIn({ files, packages }: ImportedFiles): Code {
  return withHash(files, Object.fromEntries(Object.entries(packages).map(([name, { version }]) => [name, version])));
}

function hashAt(path: string): string | undefined {
  return existsSync(path) ? sha256(readFileSync(path)) : undefined;
}

/** `module`: the path of an installed step in its package. */
function withHash(files: Record<string, string>, packages: Record<string, string>, module?: string): Code {
  const sorted = (map: Record<string, string>) => Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
  const code = { files: sorted(files), packages: sorted(packages) };
  return { ...code, hash: sha256(JSON.stringify({ ...code, module })) };
}

/** `@scope/name/sub` → `@scope/name`. Undefined for Node's own modules and for tunesmith, which cannot change a step's result. */
function packageName(specifier: string): string | undefined {
  if (/^(node:|[./#]|data:|file:)/.test(specifier)) return undefined;
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  return name === 'tunesmith' || builtinModules.includes(name) ? undefined : name;
}
