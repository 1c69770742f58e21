/** The data steps with the real CLI: identical outputs with any number of threads, and no work for unchanged data. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { MAIL_STEPS, mails, smallModel } from '../mails.ts';
import { type Project, sharedProject } from '../rig.ts';

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
const [p] = projects as [Project, Project];
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

test('a changed cleaning option reruns only what depends on it; changing it back restores; a new matrix value runs its cells', async () => {
  expect((await p.states('data.yaml')).cells).toEqual(all('fresh'));

  const unread = { collect: 'fresh', raw: 'fresh' };
  const changed = await p.states('data.yaml', '-p', 'lowercase=false');
  expect(changed.cells).toEqual({ ...all('ran'), ...unread });
  expect(changed.events.find((event) => event.type === 'cell' && event.cell === 'clean').why).toBe('option lowercase: true → false');
  expect((await p.states('data.yaml')).cells).toEqual({ ...all('restored'), ...unread });

  const more = await p.states('data.yaml', '-p', 'lengths=[16, 24, 32]');
  expect(more.cells).toEqual({ ...all('fresh'), 'tokenize[max_length=24]': 'ran' });
});
