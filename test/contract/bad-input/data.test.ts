/** Unusable data: the screen when a step fails because of it. */
import { chmodSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { type Files, project, root } from '../../rig.ts';
import { failure, type Project, refusal } from './rig.ts';

const COLLECT = `steps:
  collect: { uses: collect, with: { files: data.csv } }
`;
const SPLIT = `${COLLECT}  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.8, 0.1, 0.1] } }
`;
const TOKENIZE = `${SPLIT}  tokenize:
    uses: tokenize
    with:
      data: "\${{ steps.split.data }}"
      model: ${root}/pipelines/models/bert-tiny
`;
const rows = (label: (i: number) => string) => `text,label\n${Array.from({ length: 40 }, (_, i) => `text ${i},${label(i)}\n`).join('')}`;
const TWO = rows((i) => (i % 2 ? 'a' : 'b'));

/** The screen of the failing cell, after the cells before it have run. */
async function fails(yaml: string, files: Files, check?: (p: Project) => void): Promise<string> {
  const p = project({ 'p.yaml': yaml, ...files });
  const screen = await failure(p);
  expect(p.find('.tunesmith/outputs').filter((file) => file.includes('failed'))).toEqual([]);
  check?.(p);
  return screen.slice(screen.lastIndexOf('\n', screen.search(/: failed after/)));
}

test('a missing column: the caret points at the option that names it', async () => {
  expect(await fails(SPLIT.replace('ratios:', 'stratify: lable, ratios:'), { 'data.csv': TWO })).toMatchInlineSnapshot(`
    "
    split: failed after <time>: the data have no column \`lable\`
      p.yaml:3:78
      3 | …uses: split, with: { data: "\${{ steps.collect.data }}", stratify: lable, ratios: [0.8, 0.1, 0.1] } }
        |                                                                    ^^^^^
      The columns are \`id\`, \`text\`, \`label\`. To make another, use \`select\` of collect: \`select: { lable: … }\`.
      log: .tunesmith/logs/1/split.log
    p: 1 failed, 1 ran · <time>
      failed: split
    "
  `);
});

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

test('no label column and no option that names one', async () => {
  expect(await fails(TOKENIZE, { 'data.csv': TWO.replaceAll('label', 'group') })).toMatchInlineSnapshot(`
    "
    tokenize: failed after <time>: the data have no column \`label\`
      p.yaml:6:5
      6 |     with:
        |     ^^^^
      The columns are \`id\`, \`text\`, \`group\`, \`split\`. To make another, use \`select\` of collect: \`select: { label: … }\`.
      log: .tunesmith/logs/1/tokenize.log
    p: 1 failed, 2 ran · <time>
      failed: tokenize
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

test('unreadable rows', async () => {
  expect(await fails(COLLECT.replace('.csv', '.jsonl'), { 'data.jsonl': '{"text":"a"}\n{"text":\n' })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.jsonl:2: not JSON: Unexpected end of JSON input; that is 1 bad row of 2, more than 1%
      Correct the rows, or allow more with \`max_rejected\`.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
  expect(await fails(COLLECT.replace('.csv', '.json'), { 'data.json': '[{"text":"a"},' })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.json:1: not JSON: the list does not end
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
  expect(await fails(COLLECT.replace('.csv', '.parquet'), { 'data.parquet': 'no Parquet' })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.parquet: cannot be read as Parquet: Invalid Input Error: File 'data.parquet' too small to be a Parquet file
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
});

test('a file of an unknown format', async () => {
  expect(await fails(COLLECT.replace('.csv', '.bin'), { 'data.bin': 'x' })).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: data.bin: cannot derive the format from the extension .bin
      Set \`format\`: csv, tsv, json, jsonl, parquet, text or mail.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
});

test('an unreadable file', async () => {
  const p = project({ 'p.yaml': COLLECT.replace('data.csv', 'data'), 'data/a.csv': TWO });
  // Permissions do not stop root, but nobody can read a socket.
  const server = createServer().listen(p.path('data/b.csv'));
  await new Promise((resolve) => server.once('listening', resolve));
  chmodSync(p.path('data/b.csv'), 0o000);
  const screen = await failure(p);
  server.close();
  expect(screen).toMatchInlineSnapshot(`
    "
    collect: failed after <time>: cannot read <project>/data/b.csv: it is neither a file, a folder nor a link
      Sockets, pipes and devices have no content that can be stored.
      log: .tunesmith/logs/1/collect.log
    p: 1 failed · <time>
      failed: collect
    "
  `);
});
