/** tunesmith accepts the README's pipeline. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../rig.ts';

test('the pipeline in the README is valid and has the documented cells', async () => {
  const yaml = readFileSync(join(root, 'README.md'), 'utf8').match(/```yaml\n([\s\S]*?)```/)![1]!;
  expect(yaml.trimEnd().split('\n').length).toBeLessThanOrEqual(20);
  const p = project({ 'spam.yaml': yaml, 'mails/one.jsonl': '{"text":"hello","label":"ham"}\n' });
  const { code, events } = await p.run('status', 'spam.yaml', '--json');
  expect(code).toBe(0);
  expect(Object.keys(events.at(-1).cells)).toEqual(
    expect.arrayContaining(['train[learning_rate=0.0002]', 'evaluate[learning_rate=0.0005]', 'deploy']),
  );
});
