/** Teachers that a student cannot learn from, with the real CLI. */
import { cpSync } from 'node:fs';
import { expect, test } from 'vitest';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { project } from '../../rig.ts';
import { modelOf, smallModel } from '../../steps/small.ts';
import { failure, refusal, STACK } from './rig.ts';

const STEPS = `
steps:
  collect: { uses: collect, with: { files: data.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.6, 0.2, 0.2] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: student, max_length: 16 } }
`;

const train = (distill: string, more = '') =>
  `${STEPS}  train: { uses: train, with: { tokens: "\${{ steps.tokenize.tokens }}", model: student${more}, distill: ${distill} } }\n`;

test('options that no teacher can follow are reported before anything runs', async () => {
  expect(await refusal(train('{ temperature: 2 }'), { 'data.csv': 'text,label\n' })).toMatchInlineSnapshot();
  expect(await refusal(train('{ teacher: base, alpha: 0, temperature: 2 }'), { 'data.csv': 'text,label\n' })).toMatchInlineSnapshot();
  expect(
    await refusal(train('{ teacher: base, alpha: 1 }', ', label_smoothing_factor: 0.1'), { 'data.csv': 'text,label\n' }),
  ).toMatchInlineSnapshot();
  expect(await refusal(train('{ teacher: "${{ steps.split.counts }}", hiden: 1 }'), { 'data.csv': 'text,label\n' })).toMatchInlineSnapshot();
  expect(await refusal(train('{ teacher: data.csv }'), { 'data.csv': 'text,label\n' })).toMatchInlineSnapshot();
});

test('a teacher with another tokenizer, hidden size, labels or task is reported with the place of its option', async () => {
  const p = project({
    'p.yaml': train('{ teacher: "${{ matrix.teacher }}", hidden: 1 }').replace(
      'train: { uses: train,',
      `train: { uses: train, matrix: { teacher: [${Object.keys(TEACHERS).join(', ')}] },`,
    ),
    'data.csv': `text,label\n${Array.from({ length: 20 }, (_, i) => `the day was sad ${i},bad\na happy day ${i},good\n`).join('')}`,
  });
  const student = smallModel();
  cpSync(student, p.path('student'), { recursive: true });
  for (const [name, make] of Object.entries(TEACHERS)) cpSync(await make(student), p.path(name), { recursive: true });
  const screen = await failure(p, '--on-failure', 'continue');
  expect(screen).not.toMatch(STACK);
  const found = screen.matchAll(/\[teacher=(\S+)\]: failed after <time>: (.*?)\n {2}log:/gs);
  expect(Object.fromEntries([...found].map(([, name, said]) => [name!, said!]).sort())).toMatchInlineSnapshot();
});

const TEACHERS: Record<string, (student: string) => Promise<string>> = {
  tokenizer: () => taught(modelOf(['other', 'words'], { hidden_size: 16, num_hidden_layers: 1, intermediate_size: 32 })),
  size: () => taught(smallModel({ hidden_size: 32 })),
  labels: () => taught(smallModel(), ['bad', 'odd']),
  task: () => taught(smallModel(), [], 'masked-lm'),
  untrained: async (student) => student,
  short: () => taught(smallModel({ max_position_embeddings: 8 })),
};

/** A small model with weights and a head. */
async function taught(folder: string, labels = ['bad', 'good'], task: 'text-classification' | 'masked-lm' = 'text-classification') {
  await saveModel(folder, await startModel(folder, { task, labels, seed: 1, say: () => {} }));
  return folder;
}
