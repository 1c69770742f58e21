/** Folders and globs as inputs: which files count, which do not, and which are never skipped silently. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { leftOutOf, matches } from '../../../engine/files/glob.ts';
import { project } from '../../rig.ts';

const list = (input: string) =>
  `steps: { a: { run: "find \${{ inputs.in }} -type f | wc -l > \${{ outputs.o }}; mkdir -p src/__pycache__; date > src/__pycache__/x.pyc; echo > src/.x.py.swp", inputs: { in: ${input} }, outputs: { o: out/o } } }`;

test('by-products in a folder do not count: the result of a step that makes them is stored and fresh', async () => {
  const p = project({ 'package.json': '{}', 'p.yaml': list('src'), 'src/x.py': 'x', 'src/deep/y.py': 'y' });
  const first = await p.states('p.yaml');
  expect(first.events.filter(({ type }) => type === 'notice')).toEqual([]);
  for (const name of ['.git/index', '.DS_Store', 'deep/#y.py#', 'deep/y.py~', '.ipynb_checkpoints/n.ipynb', '.~lock.t.csv#'])
    p.write(`src/${name}`, String(Math.random()));
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'fresh' });
  p.write('src/.env', 'counts');
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran' });
});

test('the notice names the file that changed while a cell ran', async () => {
  const p = project({
    'p.yaml': 'steps: { a: { run: "echo more >> src/deep/log.txt; echo > ${{ outputs.o }}", inputs: { in: src }, outputs: { o: out/o } } }',
    'src/x.py': 'x',
    'src/deep/log.txt': '',
  });
  const { events } = await p.states('p.yaml');
  expect(events.find(({ type }) => type === 'notice').message).toBe(
    'input in (src/deep/log.txt) changed while a ran, so its result was not stored; the next run executes it again',
  );
});

/** The reference is git itself. */
test.skipIf(spawnSync('git', ['--version']).status !== 0)('gitignore: true leaves out files that git ignores', () => {
  const folder = temporary();
  const files = {
    '.gitignore': '*.log\n!keep.log\n/top.txt\nbuild/\ndeep/**/*.tmp\n# comment\n\\#odd\nname with space \n[ab].bin\n',
    'deep/.gitignore': '!special.log\nonly-here\n/rooted\n',
    'deep/more/.gitignore': '*\n!.gitignore\n!kept\n',
  };
  const names = [
    ...[
      'a.log',
      'keep.log',
      'top.txt',
      'deep/top.txt',
      'build/x',
      'deep/build/y',
      'deep/t.tmp',
      'deep/more/u.tmp',
      '#odd',
      'a.bin',
      'c.bin',
    ],
    ...[
      'deep/special.log',
      'deep/other.log',
      'deep/only-here',
      'only-here',
      'deep/rooted',
      'rooted',
      'deep/more/kept',
      'deep/more/gone',
      'B.LOG',
    ],
  ];
  for (const [name, text] of [...Object.entries(files), ...names.map((name) => [name, ''] as const)]) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const git = (...args: string[]) =>
    spawnSync('git', args, { cwd: folder, encoding: 'utf8', env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } });
  git('init', '-q');
  const isLeftOut = leftOutOf(folder, { gitignore: true });
  for (const name of names) {
    const ignored = git('check-ignore', '-q', name).status === 0;
    // The content of folders that are left out is not tested.
    const parts = name.split('/');
    const here = parts.some((_, i) => isLeftOut(parts.slice(0, i + 1).join('/'), i < parts.length - 1));
    expect([name, here]).toEqual([name, ignored]);
  }
});

function temporary(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-glob-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('a glob follows links to folders anywhere, but no cycles of links', () => {
  const folder = temporary();
  for (const name of ['data/real/a.csv', 'data/real/deep/b.csv', 'elsewhere/c.csv']) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), '');
  }
  symlinkSync('../elsewhere', join(folder, 'data/link'));
  symlinkSync('real', join(folder, 'data/again'));
  symlinkSync('..', join(folder, 'data/real/up'));
  symlinkSync('a.csv', join(folder, 'data/real/file.csv'));
  const found = (pattern: string) => matches(pattern, folder).map((path) => path.slice(folder.length + 1));
  expect(found('data/*/*.csv')).toEqual([
    'data/again/a.csv',
    'data/again/file.csv',
    'data/link/c.csv',
    'data/real/a.csv',
    'data/real/file.csv',
  ]);
  expect(found('data/**/*.csv')).toEqual([
    ...['data/again/a.csv', 'data/again/deep/b.csv', 'data/again/file.csv', 'data/link/c.csv'],
    ...['data/real/a.csv', 'data/real/deep/b.csv', 'data/real/file.csv'],
  ]);
  expect(found('data/*/')).toEqual(['data/again', 'data/link', 'data/real']);
  expect(found('data/link/*')).toEqual(['data/link/c.csv']);
  expect(found('data/{link,real}/*.csv')).toEqual(['data/link/c.csv', 'data/real/a.csv', 'data/real/file.csv']);
});

test('names that are not UTF-8, broken links and unreadable folders are reported if they may match', async () => {
  const folder = temporary();
  const bytes = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0x63, 0x61, 0x66, 0xe9]), Buffer.from('.txt')]);
  writeFileSync(bytes, '');
  writeFileSync(join(folder, 'a.csv'), '');
  symlinkSync('nowhere', join(folder, 'gone.json'));
  expect(matches('*.csv', folder)).toEqual([join(folder, 'a.csv')]);
  expect(() => matches('*.txt', folder)).toThrow(
    /cannot read .*: the name caf\ufffd\.txt in it is not valid UTF-8, and \*\.txt may match it/,
  );
  expect(() => matches('*', folder)).toThrow('is not valid UTF-8');
  expect(() => matches('*.json', folder)).toThrow('gone.json: it is a broken link, and *.json matches it');

  const p = project({
    'p.yaml': 'steps: { a: { run: ls, inputs: { in: data/**/*.csv } } }',
    'data/a.csv': '',
    'data/locked/b.csv': '',
    'data/node_modules/c.csv': '',
  });
  p.unprivileged();
  chmodSync(p.path('data/locked'), 0o000);
  for (const command of ['validate', 'run']) {
    const { code, screen } = await p.run(command, 'p.yaml');
    expect({ code, screen }).toMatchObject({
      code: 1,
      screen: expect.stringContaining('data/locked: permission denied while a glob searches it'),
    });
  }
  // A folder without possible matches is not read.
  p.write('p.yaml', 'steps: { a: { run: ls, inputs: { in: data/*.csv } } }');
  expect((await p.run('validate', 'p.yaml')).code).toBe(0);
  chmodSync(p.path('data/locked'), 0o755);
  renameSync(p.path('data/locked'), p.path('data/open'));
});

test('a step that opens files by name finds no excluded files, also in linked folders', async () => {
  const p = project({
    'model/config.json': '{}',
    'model/sub/secret.txt': 'excluded',
    'model/.git/HEAD': 'x',
    'model/sub/kept.txt': 'kept',
    'elsewhere/secret.txt': 'excluded',
    'elsewhere/more.txt': 'more',
    'look.mjs': `import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
      import { basename, join } from 'node:path';
      import { defineStep } from 'tunesmith';
      export default defineStep({
        name: 'look', version: 1, inputs: { model: 'folder' }, outputs: { o: 'file' },
        run({ inputs: { model }, outputs, leftOut, names }) {
          const found = readdirSync(model, { recursive: true }).map(String).sort();
          const opened = existsSync(join(model, 'sub/secret.txt'));
          const kept = readFileSync(join(model, 'sub/kept.txt'), 'utf8');
          writeFileSync(outputs.o, JSON.stringify({ found, opened, kept, more: existsSync(join(model, 'link/more.txt')), leftOut, name: [basename(model), names[model]] }));
        },
      });`,
    'p.yaml': 'steps: { look: { uses: ./look.mjs, with: { model: { path: model, exclude: [secret.txt] } } } }',
  });
  symlinkSync('../elsewhere', p.path('model/link'));
  expect((await p.states('p.yaml')).cells).toEqual({ look: 'ran' });
  expect(JSON.parse(p.read('.tunesmith/outputs/p/look/o'))).toEqual({
    found: ['config.json', 'link', 'link/more.txt', 'sub', 'sub/kept.txt'],
    opened: false,
    kept: 'kept',
    more: true,
    leftOut: [],
    name: ['model', 'model'],
  });
  p.write('model/sub/secret.txt', 'changed');
  expect((await p.states('p.yaml')).cells).toEqual({ look: 'fresh' });
  p.write('model/sub/kept.txt', 'changed');
  expect((await p.states('p.yaml')).cells).toEqual({ look: 'ran' });
});
