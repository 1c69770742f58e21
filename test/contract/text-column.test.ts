/** The text column is named once, in collect; every later step and the bundle use it. */
import { expect, test } from 'vitest';
import { smallModel } from '../mails.ts';
import { project } from '../rig.ts';

const START = (collect: string) => `
name: p
steps:
  collect: { uses: collect, with: { files: data.csv, ${collect} } }
  clean: { uses: clean, with: { data: "\${{ steps.collect.data }}", lowercase: true } }
  split: { uses: split, with: { data: "\${{ steps.clean.data }}", ratios: [0.8, 0.2] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: ./model, max_length: 16 } }
`;

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

test('a column that select renames is also accepted by its original name in files', async () => {
  const p = made(START('select: { text: body, label: label }'));
  expect((await p.run('run', 'p.yaml')).code).toBe(0);
  expect(JSON.parse(p.read('.tunesmith/outputs/p/tokenize/tokens/tokens.json'))).toMatchObject({
    fields: { text: 'text' },
    files: { text: 'body' },
  });
});
