/** More unusable data: the screen when a step fails because of it. */
import { expect, test } from 'vitest';
import { COLLECT, fails, rows, TOKENIZE, TWO } from '../../contract/bad-input/data-steps.ts';
import { refusal } from '../../contract/bad-input/rig.ts';

test('a missing label column that a matrix names', async () => {
  const yaml = TOKENIZE.replace('uses: tokenize', 'uses: tokenize\n    matrix: { of: [lable] }').concat('      label: ${{ matrix.of }}\n');
  expect(await fails(yaml, { 'data.csv': TWO })).toMatchInlineSnapshot(`
    "
    tokenize[of=lable]: failed after <time>: the data have no column \`lable\`
      p.yaml:10:14
      10 |       label: \${{ matrix.of }}
         |              ^^^^^^^^^^^^^^^^
      The columns are \`id\`, \`text\`, \`label\`, \`split\`. To make another, use \`select\` of collect: \`select: { lable: … }\`.
      log: .tunesmith/logs/1/tokenize[of=lable].log
    p: 1 failed, 2 ran · <time>
      failed: tokenize[of=lable]
    "
  `);
});

test('SQL that does not match the data', async () => {
  const yaml = `steps:
  collect:
    uses: collect
    with:
      files: data.csv
      select:
        text: txet
        label: label
`;
  expect(await fails(yaml, { 'data.csv': TWO })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: select.text: txet: Binder Error: Referenced column "txet" not found in FROM clause!
      p.yaml:7:15
      7 |         text: txet
        |               ^^^^
      The columns are \`text\`, \`label\`, \`source\`.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
  expect(await fails(COLLECT.replace('data.csv', 'data.csv, where: "label = \'c\'"'), { 'data.csv': TWO })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: \`where\` keeps none of the 40 rows: label = 'c'
      p.yaml:2:61
      2 |   collect: { uses: collect, with: { files: data.csv, where: "label = 'c'" } }
        |                                                             ^^^^^^^^^^^^^
      If a table without rows is a valid result, set \`allow_empty: true\`.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
});

test('a single class', async () => {
  expect(await fails(TOKENIZE, { 'data.csv': rows(() => 'a') })).toMatchInlineSnapshot(`
    "
    tokenize: failed after <time>: all rows of the split "train" have the same label, "a"
      A classifier needs at least two labels to learn from.
      log: .tunesmith/logs/1/tokenize.log
    p: 1 failed, 2 ran · <time>
      failed: tokenize
    "
  `);
});

test('empty data: an empty file, only a header, a folder without files', async () => {
  expect(await fails(COLLECT, { 'data.csv': '' })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.csv: no rows
      An empty file has nothing to learn from: check \`files\`.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
  expect(await fails(COLLECT, { 'data.csv': 'text,label\n' })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.csv: no rows
      An empty file has nothing to learn from: check \`files\`.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
  expect(await refusal(COLLECT.replace('data.csv', 'data/*.csv'), { 'data/notes.txt': '' })).toMatchInlineSnapshot(`
    "
    p.yaml:2:44: error: nothing matches data/*.csv
      2 |   collect: { uses: collect, with: { files: data/*.csv } }
        |                                            ^^^^^^^^^^
      = Paths are relative to the folder of the pipeline file. Globs skip names that begin with a dot, and node_modules.
    "
  `);
});

test('a file that is not UTF-8', async () => {
  const latin = Buffer.from('text,label\ngr\xfc\xdfe,a\nfine,b\n', 'latin1');
  expect(await fails(COLLECT, { 'data.csv': latin })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.csv:2: not UTF-8; that is 1 bad row of 2, more than 1%
      Correct the rows, or allow more with \`max_rejected\`. If the file is not UTF-8, set \`encoding\`, such as latin1 or windows-1252.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
  const utf16 = Buffer.from('\ufefftext,label\nfine,b\n', 'utf16le');
  expect(await fails(COLLECT, { 'data.csv': utf16 })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.csv: is UTF-16, not UTF-8
      Set \`encoding: utf-16\` (for predict: \`--encoding utf-16\`).
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
});
