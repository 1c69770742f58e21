/** The messages for rows that a task cannot use. (Every task through the whole pipeline: test/optional/variants/tasks.test.ts.) */
import { mkdirSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Ended, project, sharedProject } from '../rig.ts';
import { modelOf, wordsOf } from '../steps/small.ts';
import { entities, linesOf, questions, SMALL, steps } from './task-steps.ts';

const UNUSABLE: [row: object, tokenize: string, message: RegExp][] = [
  [
    { ...questions[0]!, answers: { text: ['lisbon'], answer_start: [3] } },
    'task: question-answering',
    /row [\w-]+: the answer "lisbon" is not in its context at character 3/,
  ],
  [{ ...questions[0]!, answers: { text: ['lived'], answer_start: [3] } }, 'task: question-answering', /It is at \d+: correct answer_start/],
  [
    { ...questions[0]!, question: 'x '.repeat(40) },
    'task: question-answering',
    /row [\w-]+: the question has 40 tokens, so a sequence of 24 tokens leaves no room for its context[\s\S]*\^\^\n +Shorten the question/,
  ],
  [
    { text: 'x '.repeat(40), text_pair: 'y', label: 1.5 },
    'problem_type: regression, text_pair: text_pair, truncation: only_second',
    /truncation only_second shortens only the second text, but the first has 40 tokens, and both together have room for 21[\s\S]*\^{11}\n +Shorten the first text, leave the row out/,
  ],
  [{ tokens: ['a', 'b'], tags: ['O'] }, 'task: token-classification', /row [\w-]+ has 2 words in `tokens` and 1 tags in `tags`/],
  [{ text: 'a', label: 'much' }, 'problem_type: regression', /row [\w-]+: `label` is "much", not a number/],
  [{ text: 'a', label: ['x'] }, 'text: text', /the column `label` contains lists/],
  [{ text: 'a', label: 'x' }, 'problem_type: multi_label_classification', /the column `label` contains VARCHAR, not lists/],
];

describe('an unusable row is reported', () => {
  const p = sharedProject();
  let run: Ended;

  beforeAll(async () => {
    p.write('p.yaml', `steps:${UNUSABLE.map(([, tokenize], i) => steps(String(i), 'model', { tokenize, train: 'epochs: 1' })).join('')}`);
    // Enough rows for each split, all equal, so that the bad one is found in any order.
    for (const [i, [row]] of UNUSABLE.entries()) p.write(`${i}.jsonl`, linesOf(Array.from({ length: 12 }, () => row)));
    mkdirSync(p.path('model'));
    modelOf(wordsOf(linesOf(UNUSABLE.map(([row]) => row))), SMALL, p.path('model'));
    run = await p.run('run', 'p.yaml', '--plain', '--on-failure', 'continue');
  });

  test.each(UNUSABLE.map(([, tokenize, message], i) => [i, tokenize, message] as const))('%i: %s', (i, _, message) => {
    expect(run.code).toBe(1);
    const failure = new RegExp(`^tokenize-${i}: failed(.*\\n(?=  ))+.*`, 'm').exec(run.screen)![0];
    expect(failure).toMatch(message);
    expect(run.screen).not.toMatch(/^\s+at /m);
  });
});

test('options that do not apply to a task are refused before the run', async () => {
  const options = { tokenize: 'task: token-classification, label: kind', train: 'epochs: 1' };
  const p = project({
    'p.yaml': `steps:${steps('it', 'model', options)}`,
    'it.jsonl': linesOf(entities.slice(0, 20)),
    'model/config.json': '{}',
  });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code).toBe(2);
  expect(screen).toContain('`label` applies only to text-classification, not to token-classification');
});
