/**
 * The package as a new user gets it: a clean clone under npm 10, the tarball installed into an empty folder with an
 * empty cache, and the commands run there. Needs the npm registry.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../rig.ts';

const base = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-package-')));
const clone = join(base, 'clone');
const empty = join(base, 'empty');
afterAll(() => rmSync(base, { recursive: true, force: true, maxRetries: 3 }));

let packed: { filename: string; size: number; unpackedSize: number; files: { path: string; mode: number }[] };

beforeAll(async () => {
  await run(base, 'git', 'clone', '--quiet', root, clone);
  await run(clone, 'npx', '--yes', 'npm@10', 'ci', '--no-audit', '--no-fund', '--cache', join(base, 'cache-10'));
  const said = await run(clone, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', base);
  packed = JSON.parse(said.slice(said.indexOf('[\n')))[0];
  mkdirSync(empty);
  // The cache is empty, so that nothing comes from an earlier install.
  await run(empty, 'npm', 'install', '--no-audit', '--no-fund', '--cache', join(base, 'cache'), join(base, packed.filename));
  console.log(`the tarball: ${packed.size} bytes, ${packed.unpackedSize} unpacked, ${packed.files.length} files`);
});

test('npm ci under npm 10 in a clean clone gives a working command', async () => {
  expect(await run(clone, process.execPath, 'dist/engine/cli.js', '--version')).toBe(`${version()}\n`);
});

test('the package contains code, docs and a model, no mails and no tests, and is small', () => {
  const tops = new Set(
    packed.files.map(({ path }) =>
      path
        .split('/')
        .slice(0, path.startsWith('dist/') ? 2 : 1)
        .join('/'),
    ),
  );
  expect([...tops].sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'NOTICE',
    'README.md',
    'dist/cache',
    'dist/engine',
    'dist/package-lock.json',
    'dist/steps',
    'docs',
    'package.json',
    'pipelines',
    'preinstall.js',
  ]);
  expect(
    packed.files.filter(({ path }) => /\.test\.|^test\/|spam-assassin|\.tmp\.|\.sqlite|\.safetensors/.test(path)).map(({ path }) => path),
  ).toEqual(['pipelines/models/tunesmith-small/model.safetensors']);
  expect(packed.files.find(({ path }) => path === 'dist/engine/cli.js')!.mode & 0o111).toBe(0o111);
  // The model takes most of it.
  expect(packed.size).toBeLessThan(26_000_000);
  const model = packed.files.filter(({ path }) => dirname(path) === 'pipelines/models/tunesmith-small');
  const compressed = model.map(({ path }) => gzipSync(readFileSync(join(root, path))).length).reduce((sum, size) => sum + size, 0);
  // A quarter of a megabyte are DuckDB and TensorFlow.js, each in one file, so that a step starts in half the time. 0.1 are the targets of
  // `deploy`, the protocols of the server, and the versions that a target installs.
  expect(packed.size - compressed).toBeLessThan(1_800_000);
});

test('the package contains exactly the declarations that the types of `tunesmith` reach', () => {
  const reached = new Set<string>();
  const reach = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    const text = readFileSync(join(empty, 'node_modules/tunesmith', path), 'utf8');
    for (const [, to] of text.matchAll(/\b(?:from|import\()\s*['"](\.[^'"]+)\.[jt]s['"]/g)) reach(join(dirname(path), `${to}.d.ts`));
  };
  reach('dist/engine/index.d.ts');
  expect(packed.files.map(({ path }) => path).filter((path) => path.endsWith('.d.ts'))).toEqual([...reached].sort());
});

test('npx tunesmith works where it is installed', async () => {
  expect(await run(empty, 'npx', 'tunesmith', '--version')).toBe(`${version()}\n`);
});

test('a pipeline of shell, built-in and custom steps runs, and is fresh the second time', async () => {
  write(empty, {
    'mine.yaml': PIPELINE,
    'mails.csv': MAILS,
    // Outside of the folder with node_modules, so that Node alone does not find tunesmith.
    '../steps/typed.ts': `import { defineStep, type StepContext } from 'tunesmith';\n${ownStep('typed', ': StepContext')}`,
    '../steps/plain.js': `import { defineStep } from 'tunesmith';\n${ownStep('plain', '')}`,
    '../steps/module.mjs': `import { defineStep } from 'tunesmith';\n${ownStep('module', '')}`,
  });
  const cells = ['count', 'collect', 'clean', 'split', 'typed', 'plain', 'module'];
  const states = (state: string) => Object.fromEntries(cells.map((cell) => [cell, state]));
  expect(await summary(empty, 'mine.yaml')).toEqual(states('ran'));
  expect(readFileSync(join(empty, '.tunesmith/outputs/mine/module/text'), 'utf8')).toBe('41\ntyped\nplain\nmodule\n');
  expect(await summary(empty, 'mine.yaml')).toEqual(states('fresh'));
});

test('a pipeline fine-tunes the pre-trained model of the package', async () => {
  write(empty, { 'tuned.yaml': TUNED, 'mails.csv': MAILS });
  // The mails are those of a pipeline above, so their table comes from the cache.
  expect(await summary(empty, 'tuned.yaml')).toEqual({ collect: 'restored', split: 'ran', tokenize: 'ran', train: 'ran' });
  const trained = join(empty, '.tunesmith/outputs/tuned/train/model');
  expect(JSON.parse(readFileSync(join(trained, 'config.json'), 'utf8'))).toMatchObject({ num_hidden_layers: 4, vocab_size: 10634 });
});

test('models measures the speed of this machine once', async () => {
  const said = () => run(empty, 'sh', '-c', 'XDG_CACHE_HOME="$PWD/caches" npx tunesmith models --json 2>&1 >/dev/null');
  expect(await said()).toContain('measuring the speed of this machine');
  expect(await said()).toBe('');
});

test('the output of init and new-step runs', async () => {
  const started = join(empty, 'started');
  mkdirSync(started);
  await run(started, 'npx', 'tunesmith', 'init');
  expect(new Set(Object.values(await summary(started, 'starter.yaml')))).toEqual(new Set(['ran']));
  expect(new Set(Object.values(await summary(started, 'starter.yaml')))).toEqual(new Set(['fresh']));
  // The project is the folder above, which has a package.json.
  const { metrics } = JSON.parse(readFileSync(join(empty, '.tunesmith/outputs/starter/test/metrics'), 'utf8'));
  expect(metrics.accuracy).toBeGreaterThan(0.9);
  const { methods } = JSON.parse(readFileSync(join(empty, '.tunesmith/outputs/starter/baseline/metrics'), 'utf8'));
  expect(metrics.accuracy).toBeGreaterThan(methods.bag_of_words.metrics.accuracy);

  await run(started, 'npx', 'tunesmith', 'new-step', 'keep-long-lines');
  expect(await summary(started, 'keep-long-lines.yaml')).toEqual({ lines: 'ran', kept: 'ran' });
  // Compilers that editors bundle. TypeScript 5 follows types further than 7 does.
  for (const compiler of ['typescript@5.9', 'typescript@6.0', 'typescript@7.0'])
    await run(started, 'npx', '--yes', '--package', compiler, 'tsc', '-p', '.');
});

const ROWS = Array.from({ length: 40 }, (_, i) => `message number ${i} ${i % 2 ? 'buy now' : 'see you'},${i % 2 ? 'spam' : 'ham'}`);
const MAILS = `text,label\n${ROWS.join('\n')}\n`;

const PIPELINE = `
name: mine
steps:
  count:
    run: wc -l < \${{ inputs.mails }} | tr -d ' ' > \${{ outputs.text }}
    inputs: { mails: mails.csv }
    outputs: { text: out/count.txt }
  collect:
    uses: collect
    with: { files: mails.csv }
  clean:
    uses: clean
    with: { data: "\${{ steps.collect.data }}", lowercase: true }
  split:
    uses: split
    with: { data: "\${{ steps.clean.data }}", stratify: label }
  typed:
    uses: ../steps/typed.ts
    with: { text: "\${{ steps.count.text }}" }
  plain:
    uses: ../steps/plain.js
    with: { text: "\${{ steps.typed.text }}" }
  module:
    uses: ../steps/module.mjs
    with: { text: "\${{ steps.plain.text }}" }
`;

const TUNED = `
name: tuned
params: { model: "\${{ npm('tunesmith') }}/pipelines/models/tunesmith-small" }
steps:
  collect: { uses: collect, with: { files: mails.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", stratify: label } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: "\${{ params.model }}", max_length: 16 } }
  train: { uses: train, with: { tokens: "\${{ steps.tokenize.tokens }}", model: "\${{ params.model }}", max_steps: 2, batch_size: 8 } }
`;

/** A step that adds its name to a file. */
const ownStep = (name: string, type: string) => `import { readFile, writeFile } from 'node:fs/promises';
export default defineStep({
  name: '${name}',
  version: 1,
  inputs: { text: 'file' },
  outputs: { text: 'file' },
  async run({ inputs, outputs }${type}) {
    await writeFile(outputs.text, (await readFile(inputs.text, 'utf8')) + '${name}\\n');
  },
});
`;

async function summary(folder: string, file: string): Promise<Record<string, string>> {
  const lines = (await run(folder, 'npx', 'tunesmith', 'run', file, '--json')).trimEnd().split('\n');
  return JSON.parse(lines.at(-1)!).cells;
}

function version(): string {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
}

function write(folder: string, files: Record<string, string>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}

/** Resolves with the output; errors contain stderr. */
function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  // npm passes this project's settings to its children: a new user has none of them.
  const inherited = /^(npm_(?!config_(registry|userconfig)$)|TUNESMITH_)/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !inherited.test(name)));
  // The system's Node may be older than the package allows: this test's own comes first, for npm and npx as well.
  env.PATH = `${dirname(process.execPath)}${delimiter}${env.PATH}`;
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${program} ${args.join(' ')} ended with ${code}:\n${(stdout + stderr).slice(-4000)}`));
    });
  });
}
