/** The cache of parsed pipelines: a change of anything that a pipeline depends on is detected. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { sealed, unsealed } from '../../../cache/database.ts';
import { project, type Project as Rig, root } from '../../rig.ts';
import { commands, names, Project } from './project.ts';

/** Marks the cached entry, so that a test can tell whether it was used. */
function mark(project: Project): void {
  const folder = join(project.folder, '.tunesmith/pipelines');
  for (const name of readdirSync(folder)) {
    const kept = JSON.parse(unsealed(readFileSync(join(folder, name), 'utf8'))!);
    kept.pipeline.description = 'remembered';
    writeFileSync(join(folder, name), sealed(JSON.stringify(kept)));
  }
}

async function remembers(project: Project, yaml: string, options = {}): Promise<boolean> {
  return (await project.read(yaml, { ...options, readOnly: true })).description === 'remembered';
}

const STEP =
  "export default { name: 'own', version: 1, options: { n: { type: 'integer', default: 1 } }, outputs: { o: 'file' }, run() {} };\n";

test('a cached pipeline has the same cells; values of the environment are not written to disk', async () => {
  const yaml = `
params: { n: 3 }
steps:
  a:
    matrix: { x: [1, two, 3] }
    run: echo \${{ params.n }} \${{ matrix.x }} > \${{ outputs.o }}
    env: [MEMORY_A, MEMORY_B]
    outputs: { o: "out/\${{ matrix.x }}.txt" }
    timeout: 5m
  b: { run: "cat \${{ steps.a[*].o }}", env: { C: 1 }, when: false, retry: { times: 2, delay: 3s } }
  c: { uses: ./own.mjs, cache: false }
`;
  vi.stubEnv('MEMORY_A', 'the value itself');
  const p = new Project({ 'own.mjs': STEP });
  const first = await p.read(yaml);
  const kept = readFileSync(join(p.folder, '.tunesmith/pipelines/p.yaml.json'), 'utf8');
  expect(kept).not.toContain('the value itself');
  mark(p);
  const { locate, ...second } = await p.read(yaml);
  const { locate: atFirst, ...former } = first;
  expect(second).toEqual({ ...former, description: 'remembered' });
  // The positions for later error messages are still available.
  expect(await locate('b', ['retry', 'times'], 'wrong')).toEqual(await atFirst('b', ['retry', 'times'], 'wrong'));
  vi.stubEnv('MEMORY_A', 'another');
  expect(await remembers(p, yaml)).toBe(false);
  vi.unstubAllEnvs();
});

test('nothing of a secret is recorded', async () => {
  const yaml = 'steps: { a: { run: echo, secrets: [MEMORY_SECRET] } }\n';
  vi.stubEnv('MEMORY_SECRET', 'hunter2');
  const p = new Project();
  await p.read(yaml);
  mark(p);
  const kept = readFileSync(join(p.folder, '.tunesmith/pipelines/p.yaml.json'), 'utf8');
  expect(kept).not.toContain('hunter2');
  expect(kept).not.toContain(createHash('sha256').update('hunter2').digest('hex'));
  vi.stubEnv('MEMORY_SECRET', 'hunter3');
  expect(await remembers(p, yaml)).toBe(true);
  vi.stubEnv('MEMORY_SECRET', undefined);
  expect(await remembers(p, yaml)).toBe(true);
  vi.unstubAllEnvs();
});

test('another text, other parameters or files cause a new reading', async () => {
  const yaml = 'params: { n: 1 }\nsteps: { a: { run: "cat ${{ inputs.x }}", inputs: { x: "in/*.txt", y: z.txt } } }\n';
  const p = new Project({ 'in/a.txt': '', 'z.txt': '', 'n.yaml': 'n: 2' });
  await p.read(yaml);
  mark(p);
  expect(await remembers(p, yaml)).toBe(true);
  expect(await remembers(p, `${yaml}\n`)).toBe(false);
  expect(await remembers(p, yaml, { set: ['n=2'] })).toBe(false);
  expect(await remembers(p, yaml, { paramsFile: join(p.folder, 'n.yaml') })).toBe(false);
  p.write({ 'in/b.txt': '', 'in/c.txt': '' });
  expect(await remembers(p, yaml), 'a second match is no mistake, but says something else').toBe(false);
  await p.read(yaml, { paramsFile: join(p.folder, 'n.yaml') });
  mark(p);
  expect(await remembers(p, yaml, { paramsFile: join(p.folder, 'n.yaml') })).toBe(true);
  p.write({ 'in/d.txt': '' });
  expect(await remembers(p, yaml, { paramsFile: join(p.folder, 'n.yaml') }), 'a fourth match changes nothing').toBe(true);
  p.write({ 'n.yaml': 'n: 3' });
  expect(await remembers(p, yaml, { paramsFile: join(p.folder, 'n.yaml') })).toBe(false);
});

test('a removed file is reported, a damaged cache entry is ignored', async () => {
  const yaml = 'steps: { a: { run: cat z.txt, inputs: { z: z.txt } } }\n';
  const p = new Project({ 'z.txt': '' });
  await p.read(yaml);
  writeFileSync(join(p.folder, '.tunesmith/pipelines/p.yaml.json'), '{');
  expect(names(await p.read(yaml))).toEqual(['a']);
  const moved = new Project();
  moved.write({ '.tunesmith/pipelines/p.yaml.json': readFileSync(join(p.folder, '.tunesmith/pipelines/p.yaml.json')) });
  expect(await moved.screen(yaml), 'a copied memory belongs to the folder that it was made in').toContain(
    'there is no file or folder z.txt',
  );
});

test('an invalid pipeline is not cached', async () => {
  const p = new Project();
  await p.screen('steps: { a: { rum: echo } }\n');
  expect(() => readdirSync(join(p.folder, '.tunesmith'))).toThrow();
  expect(commands((await p.read('steps: { a: { run: echo } }\n')).cells[0]!)).toEqual(['echo']);
});

/** The modules that Node loads for a command. */
async function loaded(p: Rig, ...args: string[]): Promise<string> {
  p.env.NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(`
    import { writeSync } from 'node:fs';
    import { registerHooks } from 'node:module';
    registerHooks({ load: (url, context, next) => (writeSync(2, 'LOADED ' + url + '\\n'), next(url, context)) });`)}`;
  const { code, stderr } = await p.run(...args);
  delete p.env.NODE_OPTIONS;
  expect(code).toBe(0);
  return stderr;
}

test('a run with nothing to do loads no YAML, no schemas, no bundler, and no library of a step', async () => {
  const p = project({
    'p.yaml':
      'steps: { a: { run: "echo > a.txt", outputs: { o: a.txt } }, b: { uses: ./own.ts, with: { i: "${{ steps.a.o }}" } }, c: { uses: collect, with: { files: x.jsonl } } }\n',
    'own.ts':
      "import { writeFileSync } from 'node:fs';\nimport { defineStep } from 'tunesmith';\nexport default defineStep({ name: 'own', version: 1, inputs: { i: 'file' }, outputs: { o: 'file' }, run: ({ outputs }) => writeFileSync(outputs.o!, 'x') });\n",
    'x.jsonl': '{"text": "a"}\n',
  });
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran', b: 'ran', c: 'ran' });
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh', b: 'fresh', c: 'fresh' });
  const seen = await loaded(p, 'run', 'p.yaml');
  // The list contains imported and required modules.
  expect(seen).toMatch(/LOADED file:.*dist\/engine\/commands\/command-line\.js/);
  expect(seen).toMatch(/LOADED file:.*node_modules\/better-sqlite3\//);
  for (const heavy of ['ajv', 'esbuild', 'execa', 'picomatch', 'string-width', 'tfjs', 'duckdb', 'onnxruntime', 'tokenizers'])
    expect(seen, heavy).not.toMatch(new RegExp(`LOADED (file:.*/node_modules/(@[^/]+/)?)?${heavy}\\b`));
  // The YAML parser is part of the bundle.
  expect(readFileSync(join(root, 'dist/engine/yaml.cjs'), 'utf8')).toContain('LineCounter');
  expect(seen).not.toContain('dist/engine/yaml.cjs');
  // A change of another function is detected; a file that nobody imports is ignored.
  p.write('other.ts', 'export {};\n');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh', b: 'fresh', c: 'fresh' });
  p.write('own.ts', p.read('own.ts').replace("'x'", "'y'"));
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh', b: 'ran', c: 'fresh' });
});

test('status stores the parsed pipeline in the cache folder of the user, and reads it there until something changes', async () => {
  const p = project({ 'p.yaml': 'steps: { a: { run: "cat in.txt", inputs: { i: in.txt } } }\n', 'in.txt': 'x' });
  const caches = project({});
  p.env.XDG_CACHE_HOME = caches.path('caches');
  const before = p.snapshot();
  expect(await loaded(p, 'status', 'p.yaml')).toContain('dist/engine/yaml.cjs');
  expect(await loaded(p, 'status', 'p.yaml')).not.toContain('dist/engine/yaml.cjs');
  expect(p.snapshot()).toEqual(before);
  const folder = caches.path('caches/tunesmith/pipelines');
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(readdirSync(folder)).toHaveLength(1);
  // A run does not read it, and stores its own entry.
  expect(await loaded(p, 'run', 'p.yaml')).toContain('dist/engine/yaml.cjs');
  p.remove('in.txt');
  expect((await p.run('status', 'p.yaml')).stderr).toContain('there is no file or folder in.txt');
});
