/** Unusable data: the screen when a step fails because of it. */
import { chmodSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { project } from '../../rig.ts';
import { COLLECT, fails, SPLIT, TOKENIZE, TWO } from './data-steps.ts';
import { failure } from './rig.ts';

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
