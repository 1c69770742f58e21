/** The data steps with any number of threads. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { MAIL_STEPS, mails, smallModel } from '../../mails.ts';
import { sharedProject } from '../../rig.ts';

const DATA = `
name: data
params: { lowercase: true, lengths: [16, 32] }
steps:${MAIL_STEPS}
  raw:
    uses: split
    with: { data: "\${{ steps.collect.data }}", stratify: label }
  tokenize:
    uses: tokenize
    matrix: { max_length: "\${{ params.lengths }}" }
    with: { data: "\${{ steps.split.data }}", model: ./model, max_length: "\${{ matrix.max_length }}" }
`;

const JOBS = ['1', '2'];

const projects = JOBS.map(() => sharedProject({ 'data.yaml': DATA, ...mails(50) }));

const names = ['collect', 'clean', 'split', 'raw', 'tokenize[max_length=16]', 'tokenize[max_length=32]'];

const all = (state: string) => Object.fromEntries(names.map((name) => [name, state]));

beforeAll(async () => {
  for (const [i, jobs] of JOBS.entries()) {
    smallModel(projects[i]!);
    expect((await projects[i]!.states('data.yaml', '-j', jobs)).cells).toEqual(all('ran'));
  }
});

test('two runs in two empty caches, with one thread and with two, write identical outputs', () => {
  const hashes = [];
  for (const p of projects) {
    const files = p.find('.tunesmith/outputs');
    hashes.push(
      Object.fromEntries(
        files.map((file) => [
          file,
          createHash('sha256')
            .update(readFileSync(p.path(file)))
            .digest('hex'),
        ]),
      ),
    );
  }
  expect(Object.keys(hashes[0]!).filter((file) => file.endsWith('data.parquet'))).toHaveLength(4);
  expect(Object.keys(hashes[0]!).filter((file) => file.endsWith('.safetensors')).length).toBeGreaterThanOrEqual(6);
  expect(hashes[1]).toEqual(hashes[0]);
});
