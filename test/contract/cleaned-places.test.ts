/** Cleaning that would shift the positions of answers is refused at the step that cleans. */
import { expect, test } from 'vitest';
import clean from '../../steps/clean/step.ts';
import { openEncoder } from '../../steps/ml/tasks/encoder.ts';
import tokenize from '../../steps/tokenize/step.ts';
import { project } from '../rig.ts';
import { ranStep, table } from '../steps/rig.ts';
import { smallModel } from '../steps/small.ts';

const pipeline = (steps: string, tokenizing: string, data = 'split') => `steps:
  collect: { uses: collect, with: { files: data.jsonl } }
${steps}
  split: { uses: split, with: { data: "\${{ steps.clean.data }}", key: [id] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.${data}.data }}", model: model, ${tokenizing} } }
`;

const CLEAN = '  clean: { uses: clean, with: { data: "${{ steps.collect.data }}", columns: COLUMNS } }';

test.each([
  ['[question, context]', 'task: question-answering', 'clean changes `context`, and the answers of question-answering are positions in it'],
  ['[body]', 'task: question-answering, context: body', 'clean changes `body`, and the answers of question-answering are positions in it'],
  ['[tokens]', 'task: token-classification', 'clean changes `tokens`, and the answers of token-classification are positions in it'],
])('columns: %s, then tokenize with %s', async (columns, tokenizing, message) => {
  const p = project({ 'p.yaml': pipeline(CLEAN.replace('COLUMNS', columns), tokenizing), 'data.jsonl': '{}\n', 'model/config.json': '{}' });
  const { code, screen } = await p.run('validate', 'p.yaml');
  expect(code).toBe(2);
  expect(screen).toContain(message);
  const column = CLEAN.indexOf('COLUMNS') + 1 + columns.lastIndexOf(columns.match(/\w+(?=\])/)![0]);
  expect(screen).toContain(`p.yaml:3:${column}: `);
});

test('in a chain of steps, the error is at the step that cleans the context; in a sweep, at the value of that cell', async () => {
  const steps = `  first: { uses: clean, with: { data: "\${{ steps.collect.data }}", columns: [question] } }
  clean:
    uses: clean
    matrix: { column: [question, context] }
    with: { data: "\${{ steps.first.data }}", columns: ["\${{ matrix.column }}"] }`;
  const p = project({ 'p.yaml': pipeline(steps, 'task: question-answering'), 'data.jsonl': '{}\n', 'model/config.json': '{}' });
  const { code, screen } = await p.run('validate', 'p.yaml');
  expect([code, screen.match(/p\.yaml:\d+/g)]).toEqual([2, ['p.yaml:6']]);
});

test('cleaning only the question, and steps of the user in between, are valid', async () => {
  const p = project({
    'p.yaml': pipeline(CLEAN.replace('COLUMNS', '[question]'), 'task: question-answering'),
    'data.jsonl': '{}\n',
    'model/config.json': '{}',
  });
  expect((await p.run('validate', 'p.yaml')).code).toBe(0);
});

test('tokenize itself refuses data with a cleaned context', async () => {
  const rows = ['train', 'test'].map((split) => ({ id: split, question: 'where', context: 'the  moon', answers: '["moon"]', split }));
  const { outputs } = await ranStep(clean, { columns: ['context'] }, { data: await table(rows) });
  const tokenizing = ranStep(tokenize, { task: 'question-answering', max_length: 16 }, { data: outputs.data!, model: smallModel() });
  await expect(tokenizing).rejects.toMatchObject({
    message: 'the column `context` was cleaned, but the answers of question-answering are positions in it',
    option: ['context'],
  });
});

test('a bundle with such cleaning is refused when it is opened', async () => {
  const folder = smallModel();
  const options = {
    folder,
    task: 'question-answering',
    encoding: { fields: { question: 'q', context: 'c' }, max_length: 16 },
    padTokenId: 0,
  } as const;
  const step = { decode: 'mail', columns: ['c'] } as const;
  await expect(openEncoder({ ...options, preprocessing: [{ ...step, columns: ['c'] }] })).rejects.toThrow('the column `c` was cleaned');
  await expect(openEncoder({ ...options, preprocessing: [{ ...step, columns: ['q'] }] })).resolves.toBeDefined();
});
