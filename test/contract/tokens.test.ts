/** Data are tokenized once for any training options, and labels with any characters keep their names and order. */
import { cpSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project } from '../rig.ts';
import { smallModel } from '../steps/small.ts';

const pipeline = (rates: string, batches: string, epochs: number) => `
steps:
  collect: { uses: collect, with: { files: data.jsonl } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2], stratify: label } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, max_length: 16 } }
  train:
    uses: train
    resources: { cpu: 1 }
    matrix: { rate: ${rates}, batch: ${batches} }
    with:
      tokens: \${{ steps.tokenize.tokens }}
      model: model
      epochs: ${epochs}
      learning_rate: \${{ matrix.rate }}
      batch_size: \${{ matrix.batch }}
`;

/** Rows with that many labels, whose words reveal the label. */
const rows = (...labels: string[]) =>
  Array.from({ length: 30 * labels.length }, (_, i) => {
    const word = ['awful', 'lovely', 'purple', 'the'][i % labels.length]!;
    return `${JSON.stringify({ text: `${word} ${word} day ${i}`, label: labels[i % labels.length] })}\n`;
  }).join('');

test('a sweep over training options tokenizes once; a wider sweep or other options do not tokenize again', async () => {
  const p = project({ 'p.yaml': pipeline('[0.01]', '[4, 8]', 1), 'data.jsonl': rows('bad', 'good') });
  cpSync(smallModel(), p.path('model'), { recursive: true });
  const first = await p.states('p.yaml');
  expect(Object.values(first.cells)).toEqual(Array(5).fill('ran'));
  expect(Object.keys(first.cells).filter((cell) => cell.startsWith('tokenize'))).toEqual(['tokenize']);
  const shards = () => p.find('.tunesmith/outputs/p/tokenize').map((file) => [file, p.stat(file).mtimeMs]);
  const written = shards();
  for (const [rates, epochs] of [
    ['[0.01, 0.1]', 1],
    ['[0.01]', 2],
  ] as const) {
    p.write('p.yaml', pipeline(rates, '[4, 8]', epochs));
    const { cells } = await p.states('p.yaml');
    expect(cells).toMatchObject({ collect: 'fresh', split: 'fresh', tokenize: 'fresh' });
    expect(Object.values(cells)).toContain('ran');
    expect(shards()).toEqual(written);
  }
});

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
