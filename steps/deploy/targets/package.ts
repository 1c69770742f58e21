/**
 * Packs this installation of tunesmith, so that a target builds without the source tree. From the same installation come the same
 * bytes, whether it is a checkout or an installed package. The lockfile has the versions of the repository's own.
 */
import { createHash } from 'node:crypto';
import { existsSync, globSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create } from 'tar';
import { StepError } from '../../../engine/contract/step.ts';

/** What the packed package is for: all commands, or only `serve`, which needs a small part of the dependencies. */
export type PackageContents = 'everything' | 'serving';

/** The npm packages that `serve` and the steps' code that it runs import. */
const SERVING = [
  '@hono/node-server',
  'better-sqlite3',
  'hono',
  'html-to-text',
  'onnxruntime-node',
  'postal-mime',
  'protobufjs',
  'tokenizers',
];

/** Documentation and pre-trained models stay out: a target needs neither. */
const CODE = [
  'dist/{engine,cache,steps}/**/*.{js,cjs,py,txt}',
  'dist/engine/*.licenses.txt',
  'dist/package-lock.json',
  'NOTICE',
  'LICENSE',
];

/** Writes the packed package, and the package.json and package-lock.json that install it. Returns the name of the packed file. */
export async function writePackage(folder: string, contents: PackageContents): Promise<string> {
  const root = await packageRoot();
  const own = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const { packages } = JSON.parse(await readFile(path.join(root, 'dist/package-lock.json'), 'utf8')) as { packages: Packages };
  const wanted = Object.entries(own.dependencies as Record<string, string>);
  const dependencies = Object.fromEntries(contents === 'serving' ? wanted.filter(([name]) => SERVING.includes(name)) : wanted);
  const { name, version, license, type, engines, bin, exports } = own;
  const packed = `${name}-${version}.tgz`;
  // Without scripts: an installation executes none.
  await pack(root, { name, version, license, type, engines, bin, exports, dependencies }, path.join(folder, packed));
  const integrity = `sha512-${createHash('sha512')
    .update(await readFile(path.join(folder, packed)))
    .digest('base64')}`;
  const target = { name: 'model-server', version: '1.0.0', private: true, dependencies: { [name]: `file:${packed}` } };
  await writeJson(path.join(folder, 'package.json'), target);
  await writeJson(path.join(folder, 'package-lock.json'), {
    name: target.name,
    version: target.version,
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': { name: target.name, version: target.version, dependencies: target.dependencies },
      [`node_modules/${name}`]: { version, resolved: `file:${packed}`, integrity, license, dependencies, bin, engines },
      ...reached(packages, Object.keys(dependencies)),
    },
  });
  return packed;
}

/** @throws StepError if the checkout was not compiled */
async function packageRoot(): Promise<string> {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    if (existsSync(file) && JSON.parse(await readFile(file, 'utf8')).name === 'tunesmith') {
      if (existsSync(path.join(folder, 'dist/package-lock.json'))) return folder;
      throw new StepError('tunesmith is not compiled, so it cannot be packed', 'In a checkout, run: npm run build');
    }
    if (folder === path.dirname(folder)) throw new Error(`no package.json of tunesmith above ${import.meta.dirname}`);
  }
}

/** Times, owners and the order of the files do not depend on the machine. */
async function pack(root: string, manifest: object, file: string): Promise<void> {
  const staged = await mkdtemp(path.join(tmpdir(), 'tunesmith-pack-'));
  try {
    const files = globSync(CODE, { cwd: root }).sort();
    for (const name of files) {
      const to = path.join(staged, 'package', name);
      await mkdir(path.dirname(to), { recursive: true });
      await copyFile(path.join(root, name), to);
      await chmod(to, name === 'dist/engine/cli.js' ? 0o755 : 0o644);
    }
    await writeJson(path.join(staged, 'package/package.json'), manifest);
    await chmod(path.join(staged, 'package/package.json'), 0o644);
    const entries = ['package.json', ...files].map((name) => `package/${name.split(path.sep).join('/')}`);
    await create({ file, cwd: staged, gzip: { level: 9 }, portable: true, mtime: new Date('1985-10-26T08:15:00Z') }, entries);
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

/** Entries of a package-lock.json, by their folder. */
type Packages = Record<string, { [kind in (typeof KINDS)[number]]?: Record<string, string> }>;

const KINDS = ['dependencies', 'optionalDependencies', 'peerDependencies'] as const;

/** The entries that the dependencies need, with their own dependencies, in the order of the lockfile. */
function reached(packages: Packages, dependencies: string[]): Packages {
  const found = new Set<string>();
  const visit = (from: string, name: string) => {
    // As Node resolves it: in the package's own folder first, then in those above it.
    for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
      const place = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
      const entry = packages[place];
      if (entry && found.has(place)) return;
      if (entry) {
        found.add(place);
        for (const kind of KINDS) for (const next of Object.keys(entry[kind] ?? {})) visit(place, next);
        return;
      }
      if (folder === '') return;
    }
  };
  for (const name of dependencies) visit('', name);
  return Object.fromEntries(Object.entries(packages).filter(([place]) => found.has(place)));
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}
