/** The notebook for Colab, from its first cell to its last, in Python but without Jupyter. This checkout stands for the package from npm. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { root } from '../../rig.ts';

const RUNNER = `
import json, subprocess, sys
for cell in json.load(open(sys.argv[1]))["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        continue
    if source.startswith("%%bash\\n"):
        if "npm install" not in source:
            subprocess.run(["bash", "-c", source.split("\\n", 1)[1]], check=True)
    else:
        exec(compile(source, cell["id"], "exec"), globals())
    sys.stdout.flush()
`;

test('every cell of the notebook runs', (context) => {
  try {
    execFileSync('python3', ['--version'], { stdio: 'pipe' });
  } catch {
    context.skip('there is no python3');
  }
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-colab-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const modules = join(folder, 'spam/node_modules');
  mkdirSync(join(modules, '.bin'), { recursive: true });
  mkdirSync(join(modules, 'node'));
  writeFileSync(join(folder, 'spam/package.json'), '{ "private": true }');
  symlinkSync(root, join(modules, 'tunesmith'));
  symlinkSync(dirname(process.execPath), join(modules, 'node/bin'));
  symlinkSync('../tunesmith/dist/engine/cli.js', join(modules, '.bin/tunesmith'));
  writeFileSync(join(folder, 'run.py'), RUNNER);
  const env = { ...process.env, TUNESMITH_CACHE: join(folder, 'cache'), NO_COLOR: '1' };
  const printed = execFileSync('python3', ['run.py', join(root, 'pipelines/colab.ipynb')], { cwd: folder, env, encoding: 'utf8' });
  expect(printed).toMatch(/accuracy +model [01]\.\d+ +bag of words 0\.\d+/);
  expect(printed.match(/"label":"/g)).toHaveLength(2);
  expect(printed).toMatch(/\{'predictions': \[\{'label': '\w+'/);
  expect(printed).toContain('bundle.zip');
});

test('the notebook installs the package, and has no outputs', () => {
  const { cells } = JSON.parse(readFileSync(join(root, 'pipelines/colab.ipynb'), 'utf8'));
  const code = cells.filter((cell: { cell_type: string }) => cell.cell_type === 'code');
  expect(code[0].source.join('')).toMatch(/npm install .*tunesmith$/);
  for (const cell of code) expect(cell.outputs).toEqual([]);
});
