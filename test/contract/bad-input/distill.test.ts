/** Teachers that a student cannot learn from, with the real CLI. */
import { cpSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { project } from '../../rig.ts';
import { modelOf, smallModel } from '../../steps/small.ts';
import { failure, STACK } from './rig.ts';
import { train } from './student.ts';

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
  expect(
    Object.fromEntries([...found].map(([, name, said]) => [name!, said!.replaceAll(basename(p.folder), 'project')]).sort()),
  ).toMatchInlineSnapshot(`
    {
      "labels": "the teacher was trained for the labels bad, odd, but the tokens have bad, good
      p.yaml:6:181
      6 | …ps.tokenize.tokens }}", model: student, distill: { teacher: "\${{ matrix.teacher }}", hidden: 1 } } }
        |                                                              ^^^^^^^^^^^^^^^^^^^^^^^
      Train the teacher on the same labels, or use another one.
      │ no model.safetensors: all weights are randomly initialized",
      "short": "the tokens have a max_length of 16, but the teacher takes only 8 tokens
      p.yaml:6:181
      6 | …ps.tokenize.tokens }}", model: student, distill: { teacher: "\${{ matrix.teacher }}", hidden: 1 } } }
        |                                                              ^^^^^^^^^^^^^^^^^^^^^^^
      Tokenize with a smaller max_length, or use another teacher.
      │ no model.safetensors: all weights are randomly initialized",
      "size": "the teacher has a hidden size of 32, but the student 16
      p.yaml:6:181
      6 | …ps.tokenize.tokens }}", model: student, distill: { teacher: "\${{ matrix.teacher }}", hidden: 1 } } }
        |                                                              ^^^^^^^^^^^^^^^^^^^^^^^
      Hidden states can be compared only between equal sizes: remove \`hidden\`, or use another teacher.
      │ no model.safetensors: all weights are randomly initialized",
      "task": "the teacher cannot be used: project/task contains a model for masked-lm, not for text-classification
      p.yaml:6:181
      6 | …ps.tokenize.tokens }}", model: student, distill: { teacher: "\${{ matrix.teacher }}", hidden: 1 } } }
        |                                                              ^^^^^^^^^^^^^^^^^^^^^^^
      Train one for text-classification.
      │ no model.safetensors: all weights are randomly initialized",
      "tokenizer": "the teacher has another tokenizer than the tokens: it has 7 tokens instead of 25
      p.yaml:6:181
      6 | …ps.tokenize.tokens }}", model: student, distill: { teacher: "\${{ matrix.teacher }}", hidden: 1 } } }
        |                                                              ^^^^^^^^^^^^^^^^^^^^^^^
      A teacher must read the same tokens as its student: use one with the same tokenizer, or reduce it with the same data as the student.
      │ no model.safetensors: all weights are randomly initialized",
      "untrained": "the teacher cannot be used: project/untrained contains a BertModel, which has no head for a task
      p.yaml:6:181
      6 | …ps.tokenize.tokens }}", model: student, distill: { teacher: "\${{ matrix.teacher }}", hidden: 1 } } }
        |                                                              ^^^^^^^^^^^^^^^^^^^^^^^
      Train it first. The supported tasks are text-classification, token-classification, question-answering, masked-lm, causal-lm, seq2seq.
      │ no model.safetensors: all weights are randomly initialized",
    }
  `);
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
