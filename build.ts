/**
 * `npm run build`: compiles TypeScript to dist/, joins the engine into a few files (bundle.ts), and generates the code that checks
 * each built-in schema. Compiling a schema at run time would take longer than the rest of a small plan. The name of a generated
 * file is the hash of its schema (engine/pipeline/schema-check.ts).
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import standalone from 'ajv/dist/standalone/index.js';
import { transformSync } from 'esbuild';
import { bundle } from './bundle.ts';
import { fileSchema, optionsSchema, stepSchema } from './engine/pipeline/schema.ts';
import { AJV_OPTIONS, builtName } from './engine/pipeline/schema-check.ts';
import { builtin, builtinNames } from './steps/registry.ts';

const dist = join(import.meta.dirname, 'dist');
const started = new Date();

rmSync(dist, { recursive: true, force: true });
for (const config of ['tsconfig.build.json', 'tsconfig.types.json']) compile(config);
await bundle(dist);
await buildSchemas();
writeVersions();
// The server in Python that `deploy` writes.
cpSync(join(import.meta.dirname, 'steps/deploy/targets/fastapi'), join(dist, 'steps/deploy/targets/fastapi'), { recursive: true });
chmodSync(join(dist, 'engine/cli.js'), 0o755);
// The tests build again only if a source is newer than this file. A source that changed during the build counts as newer.
writeFileSync(join(dist, '.built'), '');
utimesSync(join(dist, '.built'), started, started);

function compile(config: string): void {
  const compiler = join(import.meta.dirname, 'node_modules/typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [compiler, '-p', config], { cwd: import.meta.dirname, stdio: 'inherit' });
  } catch (error) {
    // The compiler reports type errors, but writes the code all the same.
    process.exitCode = 1;
    if (!existsSync(join(dist, 'engine/cli.js'))) throw error;
  }
}

async function buildSchemas(): Promise<void> {
  const folder = join(dist, 'engine/pipeline/schemas');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const ajv = new Ajv({ ...AJV_OPTIONS, code: { source: true } });
  const steps = await Promise.all(builtinNames().map(builtin));
  for (const schema of [fileSchema, stepSchema, ...steps.map((step) => optionsSchema(step!))]) {
    const { code } = transformSync(standalone.default(ajv, ajv.compile(schema)), { minify: true });
    writeFileSync(join(folder, builtName(schema)), code);
  }
}

/** The versions of all packages that an installation needs, for the targets of `deploy` (steps/deploy/targets/package.ts). */
function writeVersions(): void {
  const { packages } = JSON.parse(readFileSync(join(import.meta.dirname, 'package-lock.json'), 'utf8'));
  const needed = Object.entries<{ dev?: boolean }>(packages).filter(([folder, { dev }]) => folder !== '' && !dev);
  writeFileSync(join(dist, 'package-lock.json'), `${JSON.stringify({ packages: Object.fromEntries(needed) })}\n`);
}
