/** Which project and which pipeline a command acts on. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

test('validate refuses two pipelines with the same name, as run and status do, also if neither has run', async () => {
  const p = project({
    'package.json': '{}',
    'a/t.yaml': 'steps: { a: { uses: collect, with: { files: x.csv } } }\n',
    'b/t.yaml': 'steps: { a: { uses: collect, with: { files: x.csv } } }\n',
    'a/x.csv': 'a\n1\n',
    'b/x.csv': 'a\n2\n',
  });
  const before = p.snapshot();
  const { code, stderr, stdout } = await p.run('validate', 'a/t.yaml', 'b/t.yaml');
  expect({ code, stdout }).toEqual({ code: 2, stdout: 'a/t.yaml is valid: 1 step, 1 cell\n' });
  expect(stderr).toContain(
    'error: a/t.yaml and b/t.yaml have the same name, t, so their outputs would overwrite each other in .tunesmith/outputs/t',
  );
  expect(p.snapshot()).toEqual(before);
  expect((await p.run('run', 'a/t.yaml')).code).toBe(0);
  expect((await p.run('validate', 'b/t.yaml')).stderr).toContain('have the same name, t');
  expect((await p.run('validate', 'a/t.yaml')).code).toBe(0);
});

test('commands without a pipeline act on the project that a pipeline in the working folder has', async () => {
  const PIPELINE = 'steps: { a: { run: "echo > ${{ outputs.o }}", outputs: { o: o.txt } } }\n';
  const p = project({ 'package.json': '{}', 'p.yaml': PIPELINE, 'sub/x': '', 'inner/package.json': '{}', 'inner/deep/x': '' });
  await p.states('p.yaml');
  // In a folder of the project, each command finds the project and prints its root.
  const using = `using the project ${p.folder}\n`;
  for (const command of [['runs'], ['cache', 'ls'], ['cache', 'du'], ['gc', '--keep-runs', '1', '--dry-run']]) {
    expect(await p.runIn('sub', ...command)).toMatchObject({ code: 0, stderr: using });
    expect(await p.run(...command)).toMatchObject({ code: 0, stderr: '' });
  }
  expect((await p.runIn('sub', 'status')).stderr).toBe(`using ${p.path('p.yaml')}, which ran last in this project\n`);
  // A project inside of it has no results yet. Nothing of the outer project is shown, changed or removed.
  const before = p.snapshot();
  const outer = (above: string) =>
    `This folder is a project of its own, because ${above === '..' ? '' : `${p.path('inner')}/`}package.json exists. To use the project around it, run the command in ${above}.`;
  for (const [cwd, above, note] of [
    ['inner', '..', ''],
    ['inner/deep', '../..', `using the project ${p.path('inner')}\n`],
  ] as const) {
    expect(await p.runIn(cwd, 'runs')).toMatchObject({ code: 0, stdout: `there are no runs yet\n${outer(above)}\n`, stderr: note });
    expect(await p.runIn(cwd, 'cache', 'ls')).toMatchObject({ code: 0, stdout: `the cache is empty\n${outer(above)}\n`, stderr: note });
    expect(await p.runIn(cwd, 'gc', '--keep-runs', '1', '--yes')).toMatchObject({
      code: 2,
      stderr: `${note}error: no pipeline has run in the project ${p.path('inner')}\n  = ${outer(above)}\n`,
    });
  }
  for (const command of [['runs', 'show'], ['runs', 'diff'], ['cache', 'export', 'r.tar'], ['logs', 'a'], ['status'], ['show', 'a.o']])
    expect(await p.runIn('inner/deep', ...command)).toMatchObject({ code: 2 });
  expect(p.snapshot()).toEqual(before);
  // The pipeline of a project decides, wherever the command is called.
  expect((await p.run('runs', '-f', 'p.yaml')).stdout).toContain('p.yaml');
  expect((await p.runIn('inner', 'runs', '-f', '../p.yaml')).stdout).toContain('p.yaml');
  expect((await p.runIn('inner', 'cache', 'ls', '-f', '../p.yaml')).stdout).toContain('p.yaml a');
  await p.run('cache', 'export', 'results.tar');
  expect(await p.runIn('inner', 'cache', 'import', '../results.tar')).toMatchObject({ code: 0, stderr: '' });
  p.write('inner/q.yaml', PIPELINE);
  expect(await p.runIn('inner', 'cache', 'ls')).toMatchObject({ code: 0, stdout: expect.stringContaining('p.yaml a'), stderr: '' });
  expect((await p.runIn('inner', 'run', 'q.yaml', '--plain')).screen).toContain('restored');
  // An invalid pipeline hides no runs.
  p.write('p.yaml', 'steps: 5\n');
  expect(await p.run('runs', '-f', 'p.yaml')).toMatchObject({ code: 0, stdout: expect.stringContaining('p.yaml') });
  expect((await p.run('runs', '-f', 'no.yaml')).screen).toContain('no.yaml: error: there is no such file');
});

test('run and verify use the only pipeline of a folder and report it; with several, they list the names', async () => {
  const p = project({
    'notes.yaml': 'a: 1\n',
    'pipelines/one.yaml': 'steps: { a: { run: "echo 1 > ${{ outputs.o }}", outputs: { o: a.txt } } }\n',
  });
  const first = await p.run('run', '--only', 'a', '--plain');
  expect({ code: first.code, stderr: first.stderr }).toEqual({
    code: 0,
    stderr: 'using pipelines/one.yaml, the only pipeline in pipelines\n',
  });
  p.write('two.yaml', 'steps: { b: { run: "true" } }\n');
  expect((await p.run('run', '--plain')).screen).toContain('using two.yaml, the only pipeline here\n');
  expect((await p.run('verify', 'b')).stderr).toContain('using two.yaml, the only pipeline here\n');
  p.write('three.yaml', 'steps: { c: { run: "true" } }\n');
  for (const command of ['run', 'verify']) {
    const { code, screen } = await p.run(command);
    expect({ code, screen }).toEqual({
      code: 2,
      screen: 'error: there are 2 pipelines here; name one of them\n  = three.yaml\n    two.yaml\n',
    });
  }
  // What ran last, elsewhere, is not what somebody means who runs.
  p.write('empty/x', '');
  const { code, stderr } = await p.runIn('empty', 'run');
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('error: there is no pipeline here') });
});
