/** The syntax of addresses, and the errors of invalid ones. */
import { expect, test } from 'vitest';
import { maybeMany, readAddress } from '../../../engine/contract/address.ts';
import { project } from '../../rig.ts';

const HEX = 'ab'.repeat(32);

test.each([
  ['hf://owner/name', { kind: 'hub', type: 'model', name: 'owner/name', path: '' }],
  ['hf://models/owner/name', { type: 'model', name: 'owner/name' }],
  ['hf://bert-base-uncased', { type: 'model', name: 'bert-base-uncased', path: '' }],
  ['hf://bert-base-uncased@main', { name: 'bert-base-uncased', revision: 'main' }],
  ['hf://owner/name@v1.0/sub/config.json', { name: 'owner/name', revision: 'v1.0', path: 'sub/config.json' }],
  ['hf://owner/name/file@1.json', { name: 'owner/name', revision: undefined, path: 'file@1.json' }],
  ['hf://owner/name@refs/pr/12/sub', { revision: 'refs/pr/12', path: 'sub' }],
  ['hf://owner/name@refs%2Fpr%2F12', { revision: 'refs/pr/12', path: '' }],
  ['hf://owner/name@feature%2Fnew/sub/', { revision: 'feature/new', path: 'sub' }],
  ['hf://datasets/squad', { type: 'dataset', name: 'squad', path: '' }],
  [
    'hf://datasets/owner/name@refs/convert/parquet/default/train/*.parquet',
    { revision: 'refs/convert/parquet', path: 'default/train/*.parquet' },
  ],
  ['kaggle://mary/mails', { kind: 'kaggle', name: 'mary/mails', version: undefined, competition: false, path: '' }],
  ['kaggle://mary/mails@3/a/b.csv', { name: 'mary/mails', version: 3, path: 'a/b.csv' }],
  ['kaggle://competitions/titanic/train.csv', { name: 'titanic', competition: true, path: 'train.csv' }],
  [`https://host/x.tar.gz#sha256=${HEX}`, { kind: 'web', url: 'https://host/x.tar.gz', sha256: HEX, path: '' }],
  [`https://host/x.zip?a=1#sha256=${HEX.toUpperCase()}/data/*.csv`, { url: 'https://host/x.zip?a=1', sha256: HEX, path: 'data/*.csv' }],
  [`http://localhost:8080/x.zip#sha256=${HEX}`, { url: 'http://localhost:8080/x.zip' }],
])('%s', (text, address) => {
  expect(readAddress(text)).toMatchObject({ ...address, text });
});

test('paths are not addresses', () => {
  for (const path of ['./hf/owner', '/abs/path', 'data/*.csv', 'C:\\data', 'a:b', '../x', 'hfx:y'])
    expect(readAddress(path)).toBeUndefined();
});

test('addresses that may refer to several files', () => {
  const many = (text: string) => maybeMany(readAddress(text) as never);
  expect(
    ['hf://o/n', 'hf://o/n/*.json', 'hf://datasets/o/n', 'hf://datasets/o/n/a.csv', 'kaggle://o/n', 'kaggle://o/n/*.csv'].map(many),
  ).toEqual([false, true, true, false, false, true]);
});

test.each([
  ['hf://', 'the repository is missing'],
  ['hf://datasets/', 'the repository is missing'],
  ['hf://dataset/owner/name', 'Write hf://datasets/owner/name'],
  ['hf://spaces/owner/name', 'spaces of the hub are not supported'],
  ['hf://owner/na me', '"owner/na me" is not a valid name of a repository'],
  ['hf://owner/name@', 'the revision after @ is missing'],
  ['hf://owner/name@a%2', 'is not URL-encoded'],
  ['hf://owner/name@a..b', '"a..b" is not a valid revision'],
  ['hf://owner/name@main/../secret', '../secret is not a valid path'],
  ['hf://owner/name/a//config.json', 'is not a valid path'],
  ['hf:owner/name', 'Write hf://owner/name'],
  ['HF:/owner/name', 'Write hf://owner/name'],
  ['huggingface://owner/name', 'Did you mean hf://owner/name?'],
  ['kagle://mary/mails', 'Did you mean kaggle://mary/mails?'],
  ['s3://bucket/key', 'Inputs are files, folders, or addresses'],
  ['kaggle://mary', '"mary/" is not the owner/name of a dataset'],
  ['kaggle://datasets/mary/mails', 'Write kaggle://mary/mails'],
  ['kaggle://mary/mails@latest', '@latest is not a version'],
  ['kaggle://competitions/titanic@2', 'has no versions'],
  ['https://host/x.zip', 'the SHA-256 of the file is missing'],
  ['https://host/x.zip#sha256=abc', '"abc" is not a SHA-256'],
  ['https://host/x.zip#md5=abc', '#md5=abc is not a SHA-256'],
  [`https://host/x.tar.bz2#sha256=${HEX}`, 'archives of type .tar.bz2 are not supported'],
  [`http://host/x.zip#sha256=${HEX}`, 'Write https://host/x.zip'],
  [`https://me:secret@host/x.zip#sha256=${HEX}`, 'a URL in a pipeline must not contain a password'],
  [`https://host/x.zip#sha256=${HEX}/../up`, 'is not a valid path'],
  ['https://huggingface.co/owner/name', 'Write hf://owner/name'],
  ['https://huggingface.co/datasets/owner/name/blob/main/data/a.csv', 'Write hf://datasets/owner/name@main/data/a.csv'],
  ['https://www.kaggle.com/datasets/mary/mails/data', 'Write kaggle://mary/mails'],
  ['https://www.kaggle.com/competitions/titanic/data', 'Write kaggle://competitions/titanic'],
  ['https://', 'is not a URL'],
  ['hf://owner/name/@(a|b).json', 'Globs in addresses support *, ?, [a-z], {a,b}, {1..3} and **.'],
])('%s: %s', (text, told) => {
  const { mistake, hint } = readAddress(text) as { mistake: string; hint: string };
  expect(`${mistake}\n${hint}`).toContain(told);
  expect(mistake).not.toContain('secret@');
});

test('errors are reported at their position, all together, without network access', async () => {
  const p = project({
    'p.yaml': `
params: { base: "hf://owner/name@" }
steps:
  a: { uses: tokenize, with: { data: kaggle://mary, model: "\${{ params.base }}" } }
  b: { run: "true", inputs: { in: [./p.yaml, https://host/x.zip] } }
`,
  });
  const { code, screen } = await p.run('validate', 'p.yaml');
  expect(code).toBe(2);
  expect(screen).toMatchInlineSnapshot(`
    "p.yaml:2:17: error: hf://owner/name@: the revision after @ is missing
      2 | params: { base: "hf://owner/name@" }
        |                 ^^^^^^^^^^^^^^^^^^
      = Write a branch, a tag or a commit. Without @, the branch is main.

    p.yaml:4:38: error: kaggle://mary: "mary/" is not the owner/name of a dataset
      4 |   a: { uses: tokenize, with: { data: kaggle://mary, model: "\${{ params.base }}" } }
        |                                      ^^^^^^^^^^^^^
      = Write kaggle://owner/name@version/file, or kaggle://competitions/name/file.

    p.yaml:5:46: error: https://host/x.zip: the SHA-256 of the file is missing
      5 |   b: { run: "true", inputs: { in: [./p.yaml, https://host/x.zip] } }
        |                                              ^^^^^^^^^^^^^^^^^^
      = Write https://host/x.zip#sha256=<64 hex digits>. To compute the hash, run: curl -L 'https://host/x.zip' | sha256sum
    "
  `);
});
