/** Labels with any text, from the data to the answers. */
import { cpSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pipeline, rows } from '../../contract/token-sweep.ts';
import { project } from '../../rig.ts';
import { smallModel } from '../../steps/small.ts';

test('labels with spaces, newlines, quotes and any script are returned unchanged, also from a folder of links', async () => {
  const labels = ['zwei\nZeilen', ' "quoted", ☃ ', 'नमस्ते 😀', '__proto__'];
  const p = project({ 'p.yaml': pipeline('[0.02]', '[4]', 8), 'data.jsonl': rows(...labels) });
  cpSync(smallModel(), p.path('model'), { recursive: true });
  p.write(
    'in.jsonl',
    ['awful awful day 1', 'lovely lovely day 2', 'purple purple day 3', 'the the day 4']
      .map((text) => `${JSON.stringify({ text })}\n`)
      .join(''),
  );
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const folder = p
    .find('.tunesmith/outputs/p')
    .find((file) => file.endsWith('model/config.json'))!
    .replace('/config.json', '');
  const ordered = [...labels].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const { id2label, label2id } = JSON.parse(p.read(`${folder}/config.json`));
  expect(Object.values(id2label)).toEqual(ordered);
  expect(Object.entries(label2id)).toEqual(ordered.map((label, id) => [label, id]));
  // As in the hub's cache, every file is a link into another folder.
  mkdirSync(p.path('snapshot'));
  for (const file of readdirSync(p.path(folder))) symlinkSync(p.path(`${folder}/${file}`), p.path(`snapshot/${file}`));
  for (const model of [folder, 'snapshot']) {
    const { code, stdout, screen } = await p.run('predict', model, 'in.jsonl');
    expect(code, screen).toBe(0);
    const answers = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers.map(({ label }) => label)).toEqual(labels);
    expect(Object.keys(answers[0].scores)).toEqual(ordered);
  }
});
