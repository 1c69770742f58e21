/** The records of several pipelines. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

/** Two candidates, evaluated by shell steps and selected by the built-in select. */
const SWEEP = `name: sweep
params: { best: 0.9 }
steps:
  judge:
    matrix: { rate: [1, 2] }
    run: 'printf "{\\"f1\\": 0.%s, \\"loss\\": 2}" $((\${{ matrix.rate }} + 4)) > \${{ outputs.metrics }}; test \${{ params.best }} != 0'
    outputs: { metrics: "out/\${{ matrix.rate }}.json" }
  best: { uses: select, with: { from: "\${{ steps.judge[*].metrics }}", maximize: f1, pick: "\${{ steps.judge[*].metrics }}" } }
`;

test('with several pipelines, logs, explain and show use the one that ran last; runs lists the selection metric', async () => {
  const other = 'steps: { a: { run: "echo one > ${{ outputs.o }}; sleep ${{ params.t }}", outputs: { o: one.txt } } }\nparams: { t: 0 }\n';
  const p = project({ 'one.yaml': other, 'two.yaml': SWEEP, 'three.yaml': other.replaceAll('one', 'three') });
  expect((await p.run('logs', 'a')).stderr).toContain('there are 3 pipelines here; name one');
  await p.states('one.yaml');
  await p.states('two.yaml');
  const told = 'using two.yaml, which ran last among the 3 pipelines here\n';
  expect(await p.run('show', 'judge.metrics')).toMatchObject({ code: 0, stderr: told });
  expect(await p.run('explain', 'best')).toMatchObject({ code: 0, stderr: told });
  expect(await p.run('logs', 'best')).toMatchObject({ code: 0, stdout: expect.stringContaining('chose judge[rate=2]: '), stderr: told });
  await p.states('one.yaml', '-p', 't=0.1');
  expect((await p.run('show', 'a.o')).stdout).toContain('one\n');

  const rows = (await p.run('runs')).stdout.split('\n');
  expect(rows[0]).toMatch(/^run +started +pipeline +time +f1 +commit +cells$/);
  expect(rows[2]).toMatch(/^2 .* two\.yaml .* s +0\.6 /);
  expect(rows[3]).toMatch(/ s +– /);
  expect((await p.run('runs', '--json')).events[1].metric).toEqual({ name: 'f1', value: 0.6, cell: 'best' });
  expect((await p.run('runs', '--metric', 'f2')).stderr).toContain('no cell of these runs has a metric "f2"');

  // An output of a past run, after the pipeline has changed.
  p.write('two.yaml', SWEEP.replace('[1, 2]', '[3]'));
  expect((await p.run('show', 'two.yaml', 'judge.metrics', '--run', '2')).stdout).toMatch(
    /^judge\[rate=1\]\.metrics of run 2: .*\n\{ "f1": 0\.5,.*\n\njudge\[rate=2\]\.metrics of run 2: /,
  );
  expect((await p.run('show', 'two.yaml', 'judge.metrics', '--run', '1')).stderr).toContain('run 1 is a run of one.yaml, not of two.yaml');
  p.write('two.yaml', SWEEP);

  // The comparison uses finished runs of one pipeline, whatever runs now.
  const at = p.start('run', 'one.yaml', '-p', 't=30');
  await p.until(() => p.exists('.tunesmith/logs/4/a.log'));
  expect((await p.run('runs', 'diff')).stdout).toMatch(/^run 1 of [^(]+ → run 3 of [^(]+\n/);
  expect((await p.run('runs', 'diff', '1')).stdout).toMatch(/^run 1 of [^(]+ → run 3 of [^(]+\n/);
  expect((await p.run('runs', 'diff', '3', '4')).stdout).toMatch(/ → run 4 of .* \(running\)\n/);
  expect((await p.run('runs', 'diff', '2')).stderr).toContain('there is no finished run of two.yaml before run 2');
  at.kill('SIGINT');
  await at.done;
});
