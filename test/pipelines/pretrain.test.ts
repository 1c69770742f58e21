/** The parts of pipelines/pretrain.yaml: reading formats, packing passages, and finding overlaps with the examples of tasks. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { paragraphsOf } from '../../pipelines/pretrain/formats.ts';
import { Examples, printsOf } from '../../pipelines/pretrain/overlap.ts';
import { Passages } from '../../pipelines/pretrain/passages.ts';
import { temporary } from '../steps/rig.ts';
import { overlapsOf, textsIn } from './overlaps.ts';

const thirteen = 'one two three four five six seven eight nine ten eleven twelve thirteen';

test.each([
  ['the same text, in other case and punctuation', 'A short "example".', 'a short example', 'text'],
  ['13 words of it', `Before ${thirteen} after.`, `Other words, then ${thirteen.toUpperCase()}!`, '13 words'],
  ['12 words of it', `Before ${thirteen} after.`, 'two three four five six seven eight nine ten eleven twelve thirteen', undefined],
  ['13 words in another order', thirteen, thirteen.split(' ').toReversed().join(' '), undefined],
  ['a short example as a sentence', 'I like this old phone.', 'He wrote: nothing. I like this old phone! And more.', 'sentence'],
  ['a short example within a sentence', 'I like this old phone.', 'He said that I like this old phone.', undefined],
  ['fewer than five words as a sentence', 'Thank you very much.', 'Well. Thank you very much. Yes.', undefined],
  ['nothing', 'Some other text.', '', undefined],
])('a text that has %s', (_, example, text, overlap) => {
  const examples = new Examples();
  examples.add(example);
  expect(examples.overlap(printsOf(text))).toBe(overlap);
});

test('no two of many runs of words are taken for each other', () => {
  const examples = new Examples();
  const word = (i: number) => `w${i}`;
  examples.add(Array.from({ length: 100_000 }, (_, i) => word(i)).join(' '));
  const others = Array.from({ length: 100_000 }, (_, i) => word(i + 200_000)).join(' ');
  expect(examples.overlap(printsOf(others))).toBeUndefined();
});

test('passages are whole sentences of prose up to a number of tokens, each sentence once', async () => {
  const words = async (sentences: string[]) => sentences.map((sentence) => sentence.split(' ').length);
  const passages = new Passages(words, 40);
  const sentence = (name: string) =>
    `This is what the ${name} of the house told them about it, and they were not at all glad to hear that from him.`;
  const code = 'x = f(a, b); y = g(x); if (y > 3) { z[0] = 17; return h(z); } else { q++; }';
  const rows = await passages.of('a', 'page.html', [
    `${sentence('owner')} ${sentence('keeper')}`,
    code,
    sentence('owner'),
    sentence('maid'),
  ]);
  expect(rows.map(({ text }) => text)).toEqual([]);
  const long = new Passages(words, 60);
  const packed = await long.of('a', 'page.html', [`${sentence('owner')} ${sentence('keeper')}`, code, sentence('owner'), sentence('maid')]);
  expect(packed.map(({ text }) => text)).toEqual([`${sentence('owner')} ${sentence('keeper')}`]);
  expect(packed[0]).toMatchObject({ source: 'a', document: 'page.html', id: expect.stringMatching(/^[0-9a-f]{16}$/) });
});

test.each([
  [
    'html',
    '<body><nav>Menu</nav><h1>Title</h1><p>First <b>one</b>.</p><pre>code</pre><ul><li>An item.</li></ul></body>',
    ['First one.', '* An item.'],
  ],
  ['text', 'First\nline.\n\n    code\n\nSecond.', ['First line.', 'Second.']],
  ['pod', '=head1 NAME\n\nSee L<the page|perlop> and C<print>.\n\n  code', ['See the page and print.']],
  ['xml', '<page><title>T</title><p>Press <key>A</key> &amp; wait.</p></page>', ['Press A & wait.']],
  ['wesnoth', 'message= _ "He said ""no"" to <i>me</i>."\nid=x', ["He said 'no' to me."]],
  ['endless-sky', 'conversation\n\t`You see <planet>.`\n\tlabel x', ['You see it.']],
] as const)('the paragraphs of %s', (format, file, paragraphs) => {
  expect(paragraphsOf(format, Buffer.from(file)).filter((paragraph) => paragraph !== '')).toEqual(paragraphs);
});

test('the stored report says that the passages that overlap with an example were left out', () => {
  const { passages, tasks } = JSON.parse(readFileSync(join(import.meta.dirname, '../../pipelines/pretrain/unseen.json'), 'utf8'));
  expect(passages.kept + passages.left_out).toBe(passages.read);
  expect(Object.keys(tasks)).toEqual(['spam', 'wordnet', 'reviews', 'pairs', 'entities', 'qa']);
  const found = Object.values<any>(tasks).map((task) => Object.values<number>(task.overlapping_passages).reduce((sum, n) => sum + n, 0));
  // A passage may overlap with several tasks.
  expect(found.reduce((sum, n) => sum + n, 0)).toBeGreaterThanOrEqual(passages.left_out);
  for (const task of Object.values<any>(tasks)) expect(task.texts).toBeGreaterThan(0);
});

test('the independent check finds planted overlaps: a text, a sentence of another passage, and 13 words', async () => {
  const folder = temporary();
  const file = (name: string, rows: object[]) => {
    writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return join(folder, name);
  };
  const texts = [
    'A passage that has nothing in common with an example, although it has more than thirteen words.',
    'I LIKE this old phone',
    'He wrote: nothing! "I like this óld phone!" And more.',
    `Then ${thirteen.toUpperCase()}, she said.`,
    thirteen.split(' ').slice(1).join(' '),
    'He wrote that I like this old phone. Thank you. Yes.',
  ];
  const passages = file(
    'passages.jsonl',
    texts.map((text) => ({ text })),
  );
  const examples = file('examples.jsonl', [{ text: 'I like this old phone.' }, { nested: [{ answer: `Before ${thirteen}, and after` }] }]);
  const short = file('short.jsonl', [{ text: 'Thank you.', label: '…' }]);
  expect(await overlapsOf(passages, { planted: [textsIn(examples)], short: [textsIn(short)] })).toMatchObject({
    passages: 6,
    tasks: {
      planted: { texts: 2, same_text: 1, same_sentence: 2, thirteen_words: 1 },
      short: { texts: 1, same_text: 0, same_sentence: 0, thirteen_words: 0 },
    },
  });
});
