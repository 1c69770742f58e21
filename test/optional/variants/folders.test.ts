/** Files that are left out of folders. */
import { mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

test('exclude leaves out its matches, in commands and for steps; ignored files of git count unless gitignore: true', async () => {
  const p = project({
    'package.json': '{}',
    '.gitignore': 'data/\n*.csv\n',
    'src/x.py': 'x',
    'src/big.log': '1',
    'src/ignored.csv': '1',
    'data/t.csv': 'text,label\na,1\n',
    'data/old/o.csv': 'text,label\nold,0\n',
    'data/__pycache__/c.csv': 'text,label\ncache,0\n',
    'p.yaml': `
steps:
  a: { run: "echo >> ../ran-a; echo > \${{ outputs.o }}", inputs: { in: { path: src, exclude: ["*.log"], gitignore: true } }, outputs: { o: out/o } }
  b: { uses: collect, with: { files: { path: [data], exclude: old/ } } }
  c: { run: "echo \${{ inputs.in }} > \${{ outputs.o }}", inputs: { in: { path: "src/*", exclude: [x.py] } }, outputs: { o: out/c } }
`,
  });
  mkdirSync(p.path('.git'));
  expect((await p.states('p.yaml')).cells).toEqual({ a: 'ran', b: 'ran', c: 'ran' });
  expect(p.read('out/c')).toBe('src/big.log src/ignored.csv\n');
  const rows = async () => (await p.run('show', 'b.data', '-f', 'p.yaml')).stdout;
  expect(await rows()).not.toMatch(/\b(old|cache)\b/);
  p.write('src/big.log', '2');
  p.write('src/ignored.csv', '2');
  p.write('data/old/o.csv', 'text,label\nolder,0\n');
  expect((await p.states('p.yaml')).cells).toMatchObject({ a: 'fresh', b: 'fresh' });
  // git ignores the file, but the data have changed.
  p.write('data/t.csv', 'text,label\nb,1\n');
  expect((await p.states('p.yaml')).cells).toMatchObject({ a: 'fresh', b: 'ran' });
  expect(await rows()).toMatch(/\n\S+ +b +1/);
  for (const [input, message] of [
    ['{ exclude: [x] }', 'has no `path`'],
    ['{ path: src, exlude: [x] }', 'an input has no key "exlude"'],
    ['{ path: src, gitignore: maybe }', '`gitignore` takes true or false'],
    ['{ path: src, exclude: [1] }', '`exclude` takes patterns as in .gitignore'],
  ]) {
    p.write('q.yaml', `steps: { a: { run: ls, inputs: { in: ${input} } } }`);
    const { code, screen } = await p.run('validate', 'q.yaml');
    expect({ code, screen }).toMatchObject({ code: 2, screen: expect.stringContaining(message!) });
  }
});
