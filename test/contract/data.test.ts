/** The data steps with the real CLI: no work for unchanged data. (On any number of threads: test/optional/variants/data.test.ts.) */
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
  smallModel(p);
  expect((await p.states('data.yaml')).cells).toEqual(all('ran'));
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
