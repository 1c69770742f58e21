/** Teachers that a student cannot learn from, with the real CLI. */
import { cpSync } from 'node:fs';
import { basename } from 'node:path';
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
  const refused = (distill: string, more?: string) =>
    refusal(train(distill, more).replaceAll('student', 'base'), { 'data.csv': 'text,label\n' });
  expect(await refused('{ temperature: 2 }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:95: error: missing input "distill.teacher"
      6 | … train, with: { tokens: "\${{ steps.tokenize.tokens }}", model: base, distill: { temperature: 2 } } }
        |                                                                                ^^^^^^^^^^^^^^^^^^
      = Write \`teacher:\` below \`distill\`, with a path or \${{ steps.STEP.OUTPUT }}. The trained model (the teacher) from which \`model\` (the student) learns. Both need the same tokenizer and, for text-classification, the same labels.
    "
  `);
  expect(await refused('"${{ matrix.way }}" }, matrix: { way: [{ alpha: 1 }]')).toMatchInlineSnapshot(`
    "
    p.yaml:6:134: error: missing input "distill.teacher"
      6 | ….tokenize.tokens }}", model: base, distill: "\${{ matrix.way }}" }, matrix: { way: [{ alpha: 1 }] } }
        |                                                                                     ^^^^^^^^^^^^
      = Write \`teacher:\` below \`distill\`, with a path or \${{ steps.STEP.OUTPUT }}. The trained model (the teacher) from which \`model\` (the student) learns. Both need the same tokenizer and, for text-classification, the same labels.
    "
  `);
  expect(await refused('{ teacher: base, alpha: 0, temperature: 2 }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:95: error: \`alpha: 0\`, \`hidden: 0\` and \`pooled: 0\` together ignore the teacher: raise one of them
      6 | …\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: base, alpha: 0, temperature: 2 } } }
        |                                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    p.yaml:6:135: error: \`temperature\` has no effect with \`alpha: 0\`, which ignores the outputs of the teacher
      6 | …\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: base, alpha: 0, temperature: 2 } } }
        |                                                                                               ^
    "
  `);
  expect(await refused('{ teacher: base, alpha: 1 }', ', label_smoothing_factor: 0.1')).toMatchInlineSnapshot(`
    "
    p.yaml:6:110: error: \`label_smoothing_factor\` has no effect with \`distill: { alpha: 1 }\`, which ignores the labels
      6 | …steps.tokenize.tokens }}", model: base, label_smoothing_factor: 0.1, distill: { teacher: base, alpha…
        |                                                                  ^^^
    "
  `);
  expect(await refused('{ teacher: base, hiden: 1 }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:112: error: unknown option "hiden"
      6 | …ith: { tokens: "\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: base, hiden: 1 } } }
        |                                                                                        ^^^^^
      = did you mean "hidden"? valid here: temperature, alpha, hidden, pooled
    "
  `);
  expect(await refused('{ teacher: "${{ steps.split.model }}" }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:123: error: step "split" has no output "model"
      6 | …s: "\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: "\${{ steps.split.model }}" } } }
        |                                                                                       ^^^^^
      = its outputs: data, assignment
    "
  `);
  expect(await refused('{ teacher: base, pooled: -1 }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:120: error: "distill.pooled" takes a number of at least 0, found -1
      6 | …h: { tokens: "\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: base, pooled: -1 } } }
        |                                                                                              ^^
    "
  `);
  expect(await refused('{ teacher: base, pooled: 1 }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:120: error: \`pooled\` does not apply to text-classification
      6 | …th: { tokens: "\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: base, pooled: 1 } } }
        |                                                                                               ^
      = It applies only to masked-lm. Remove it.
    "
  `);
  const answers = (yaml: string) => yaml.replace('max_length: 16', 'max_length: 16, task: question-answering');
  expect(await refusal(answers(train('{ teacher: base }').replaceAll('student', 'base')), { 'data.csv': 'x\n' })).toMatchInlineSnapshot(`
    "
    p.yaml:6:95: error: \`distill\` does not apply to question-answering
      6 | …: train, with: { tokens: "\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: base } } }
        |                                                                                 ^^^^^^^^^^^^^^^^^
      = It applies only to text-classification and masked-lm. Remove it.
    "
  `);
  expect(await refused('{ teacher: data.csv }')).toMatchInlineSnapshot(`
    "
    p.yaml:6:106: error: input "distill.teacher" takes a folder, but data.csv is a file
      6 | …ain, with: { tokens: "\${{ steps.tokenize.tokens }}", model: base, distill: { teacher: data.csv } } }
        |                                                                                        ^^^^^^^^
    "
  `);
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
