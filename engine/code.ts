/** What a step's module is made of: its file, the files that it imports, and the versions of the packages that it imports. */
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, dirname, relative, resolve, sep } from 'node:path';
import { packageFolder, packageVersion } from './pipeline/packages.ts';

export interface Code {
  /** Relative to the module's folder → SHA-256. */
  files: Record<string, string>;
  packages: Record<string, string>;
  hash: string;
}

/** The module cannot be read or parsed. */
export class CodeError extends Error {
  override name = 'CodeError';
}

/** Read once per process. Throws CodeError for a syntax error or an import of a file that is not there. */
export function codeOf(entry: string): Promise<Code> {
  let code = known.get(entry);
  if (!code) {
    code = read(entry);
    known.set(entry, code);
  }
  return code;
}

const known = new Map<string, Promise<Code>>();

async function read(entry: string): Promise<Code> {
  // An installed package is what its version says.
  const installed = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/]/.exec(realpathSync(entry));
  if (installed) return withHash({}, { [installed[2]!.replaceAll(sep, '/')]: packageVersion(installed[1]!) });

  const { build } = await import('esbuild');
  const folder = dirname(entry);
  const { metafile } = await build({
    entryPoints: [`./${basename(entry)}`],
    absWorkingDir: folder,
    bundle: true,
    packages: 'external',
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

  const files: Record<string, string> = {};
  const packages: Record<string, string> = {};
  for (const [file, { imports }] of Object.entries(metafile.inputs)) {
    const path = resolve(folder, file);
    files[relative(folder, path).replaceAll(sep, '/')] = createHash('sha256').update(readFileSync(path)).digest('hex');
    for (const { path: specifier, external } of imports) {
      const name = external ? packageName(specifier) : undefined;
      if (name === undefined) continue;
      const found = packageFolder(name, dirname(path));
      packages[name] = found ? packageVersion(found) : 'not installed';
    }
  }
  return withHash(files, packages);
}

function withHash(files: Record<string, string>, packages: Record<string, string>): Code {
  const sorted = (map: Record<string, string>) => Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
  const code = { files: sorted(files), packages: sorted(packages) };
  return { ...code, hash: createHash('sha256').update(JSON.stringify(code)).digest('hex') };
}

/** `@scope/name/sub` → `@scope/name`. Undefined for Node's own modules, and for tunesmith itself, which gives a step nothing but its form. */
function packageName(specifier: string): string | undefined {
  if (/^(node:|[./#]|data:|file:)/.test(specifier)) return undefined;
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  return name === 'tunesmith' || builtinModules.includes(name) ? undefined : name;
}
