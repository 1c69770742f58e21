/** Reports of runs that changed. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { sharedProject } from '../../rig.ts';

const PIPELINE = `
name: small
params: { level: 3 }
steps:
  make:
    run: |-
      node -e "fs.writeFileSync(process.argv[1], 'x')" \${{ outputs.text }}
    outputs: { text: text.txt }
  score:
    matrix: { rate: [1, 2, 3] }
    run: |-
      node -e "fs.writeFileSync(process.argv[1], JSON.stringify({ split: 'test', rows: 4, metrics: { f1: 0.1 * process.argv[2] } }))" \${{ outputs.metrics }} \${{ matrix.rate }}
    inputs: { text: "\${{ steps.make.text }}" }
    outputs: { metrics: "score-\${{ matrix.rate }}.json" }
`;

const p = sharedProject({ 'p.yaml': PIPELINE, 'package.json': '{"type":"module"}' });

const page = (name: string) => readFileSync(p.path(name), 'utf8');

beforeAll(async () => {
  const { code, stderr } = await p.run('run', 'p.yaml');
  expect(code, stderr).toBe(0);
});

test('a later run is fresh; removed results and a changed pipeline are named', async () => {
  await p.run('run', 'p.yaml');
  await p.run('report');
  expect(page('report-2.html')).toContain('<td>fresh</td>');
  p.write('p.yaml', PIPELINE.replace('[1, 2, 3]', '[1, 2]'));
  rmSync(join(p.path('.tunesmith'), 'objects'), { recursive: true });
  rmSync(p.path('score-3.json'));
  const { code, stderr } = await p.run('report', '1', '-o', 'old.html');
  expect(code, stderr).toBe(0);
  const html = page('old.html');
  expect(html).toContain('The pipeline has changed since this run');
  expect(html).toContain('score[rate=3].metrics is no longer stored.');
  expect(html).toContain('<section id="pipeline-cells"');
});
