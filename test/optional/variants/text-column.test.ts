/** A text column with another name. */
import { expect, test } from 'vitest';
import { smallModel } from '../../mails.ts';
import { project } from '../../rig.ts';

const START = (collect: string) => `
name: p
steps:
  collect: { uses: collect, with: { files: data.csv, ${collect} } }
  clean: { uses: clean, with: { data: "\${{ steps.collect.data }}", lowercase: true } }
  split: { uses: split, with: { data: "\${{ steps.clean.data }}", ratios: [0.8, 0.2] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: ./model, max_length: 16 } }
`;

const TRAIN =
  '  train: { uses: train, resources: { cpu: 1 }, with: { tokens: "${{ steps.tokenize.tokens }}", model: ./model, task: text-classification, epochs: 1 } }\n';

function made(pipeline: string) {
  const rows = Array.from({ length: 40 }, (_, i) => `${i},Text number ${i},${i % 2 ? 'spam' : 'ham'}\n`);
  const p = project({
    'p.yaml': pipeline,
    'data.csv': `id,body,label\n${rows.join('')}`,
    'new.csv': 'other,body,text\nx,Some words,no words\n',
  });
  smallModel(p);
  return p;
}

test('a text column with another name is used from collect to predict', async () => {
  const p = made(START('text: body') + TRAIN);
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
  const predicted = async (...args: string[]) => (await p.run('predict', '.tunesmith/outputs/p/train/model', 'new.csv', ...args)).stdout;
  const remembered = await predicted();
  expect(remembered).toContain('"label"');
  expect(remembered).not.toBe(await predicted('--column', 'text'));
});
