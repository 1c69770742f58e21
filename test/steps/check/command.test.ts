/** The step check in a pipeline: a missed limit stops the next step, and another limit runs no later step again. */
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';

const pipeline = (limit: string) => `
name: p
steps:
  collect: { uses: collect, with: { files: texts.csv } }
  check:
    uses: check
    with: { data: "\${{ steps.collect.data }}", near_duplicates: false, languages: false, label_errors: false, limits: { duplicates: "${limit}" } }
  clean: { uses: clean, with: { data: "\${{ steps.check.data }}" } }
`;

test('limits of a pipeline', async () => {
  const p = project({ 'texts.csv': 'text,label\none,a\none,a\ntwo,b\n', 'p.yaml': pipeline('<= 0.5') });
  const failed = await p.run('run', 'p.yaml', '--plain');
  expect(failed.code).toBe(1);
  expect(failed.screen).toContain('the data miss 1 of 1 limits: duplicates is 0.6667, but must be <= 0.5');
  expect(failed.screen).toContain('`tunesmith show .tunesmith/failed/check/rows`');
  const shown = await p.run('show', '.tunesmith/failed/check/report');
  expect(shown.stdout).toMatch(/duplicates +0\.6667 +<= 0\.5 +missed/);

  p.write('p.yaml', pipeline('<= 0.7'));
  expect((await p.states('p.yaml')).cells).toMatchObject({ collect: 'fresh', check: 'ran', clean: 'ran' });
  p.write('p.yaml', pipeline('<= 0.8'));
  expect((await p.states('p.yaml')).cells).toMatchObject({ check: 'ran', clean: 'fresh' });
});
