/** Options that no teacher can follow. */
import { expect, test } from 'vitest';
import { refusal } from '../../contract/bad-input/rig.ts';
import { train } from '../../contract/bad-input/student.ts';

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
