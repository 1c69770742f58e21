/** Pushes to a hub in this process: what is sent, and what is not sent again. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { nameProblem } from '../../../../steps/ml/hub/push.ts';
import { sha256 } from '../../../engine/fetch/hub.ts';
import { project } from '../../../rig.ts';
import { bundle, CARD, hubFor, TOKEN } from './pushes.ts';

test('the command creates the repository, commits and tags; a second push changes nothing; the token goes only to the hub', async () => {
  const { hub, head, commits } = await hubFor();
  const p = project({}, { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN });
  const folder = bundle(p.path('a'));
  const first = await p.run('push', 'a', 'acme/spam', '--private', '--tag', 'v1.0', '--message', 'The first one');
  expect(first.stderr).toBe('');
  expect(first.stdout).toMatch(
    /^pushed \d+ files to acme\/spam, branch main: commit \w{7}, tag v1\.0 \(.* of large files were sent\)\nhttp.*\/acme\/spam\/tree\/v1\.0\n$/,
  );
  const { private: isPrivate, refs, messages } = hub.repositories.get('acme/spam')!;
  expect(isPrivate).toBe(true);
  expect(messages![refs.main!]).toBe('The first one');
  expect(refs['v1.0']).toBe(refs.main);
  for (const [path, content] of Object.entries(head()))
    if (path !== '.gitattributes') expect(readFileSync(join(folder, path)).equals(Buffer.from(content)), path).toBe(true);
  expect(head()['model.safetensors']!.length).toBe(300_000);

  for (const { server, authorization } of hub.requests) expect(authorization).toBe(server === 'hub' ? `Bearer ${TOKEN}` : undefined);

  const again = JSON.parse((await p.run('push', 'a', 'acme/spam', '--tag', 'v1.0', '--json')).stdout);
  expect(again).toEqual({
    repo: 'acme/spam',
    branch: 'main',
    revision: refs.main,
    tag: 'v1.0',
    private: true,
    url: `${hub.url}/acme/spam/tree/v1.0`,
    changed: false,
  });
  expect(commits()).toBe(2);
}, 60_000);

test('a push to a branch, which is created, sends only what changed', async () => {
  const { hub, pushed, head } = await hubFor();
  const folder = bundle();
  await pushed(folder);
  const { main } = hub.repositories.get('acme/spam')!.refs;
  hub.requests.length = 0;
  writeFileSync(join(folder, 'README.md'), `${CARD}\nMore.\n`);
  writeFileSync(join(folder, 'vocab.txt'), 'a\n');
  expect((await pushed(folder, { branch: 'next/one' })).sent).toEqual({ files: 2, bytes: 0 });
  expect(hub.requests.filter(({ server }) => server === 'cdn')).toEqual([]);
  expect(hub.repositories.get('acme/spam')!.refs.main).toBe(main);
  expect(String(head('next/one')['vocab.txt'])).toBe('a\n');
});

test('a push that was interrupted goes on: only the file that was on its way is sent again', async () => {
  const { hub, pushed, head, arrived } = await hubFor();
  const folder = bundle();
  const [weights, onnx] = [join(folder, 'model.safetensors'), join(folder, 'onnx/model.onnx')];
  const interruption = new AbortController();
  hub.trouble({ at: `cdn/${sha256(readFileSync(onnx))}`, stall: 0 });
  const interrupted = pushed(folder, {}, interruption.signal);
  await vi.waitFor(() => expect(hub.requests.some(({ url }) => url.includes(sha256(readFileSync(onnx))))).toBe(true));
  interruption.abort();
  await expect(interrupted).rejects.toThrow('aborted');
  expect(arrived(weights)).toBe(300_000);
  await pushed(folder);
  expect(arrived(weights)).toBe(300_000);
  expect(head()['onnx/model.onnx']!.length).toBe(readFileSync(onnx).length);
});

test('a connection that breaks midway is repaired within the push; of a file in parts, only the broken part is sent again', async () => {
  const { hub, log, pushed, head, arrived } = await hubFor();
  const folder = bundle();
  const weights = join(folder, 'model.safetensors');
  hub.partSize = 100_000;
  hub.trouble({ at: 'part=2', cut: 50_000 });
  hub.trouble({ at: 'part=3', status: 503, headers: { 'retry-after': '0' } });
  await pushed(folder);
  expect(head()['model.safetensors']!.length).toBe(300_000);
  // Part 2 was cut once, and part 3 arrived twice.
  expect(arrived(weights)).toBeGreaterThanOrEqual(450_000);
  expect(arrived(weights)).toBeLessThan(510_000);
  expect(log.some((line) => /HTTP status 503; retrying/.test(line))).toBe(true);
  expect(log.join()).not.toContain('signature');
});

test('a commit whose answer was lost counts, and is not made twice; 429 is waited for', async () => {
  const { hub, pushed, commits } = await hubFor();
  hub.trouble({ at: '/commit/main', lose: true });
  hub.trouble({ at: '/preupload/', status: 429, headers: { 'retry-after': '0' } });
  const { changed, pushed: result } = await pushed(bundle());
  expect(changed).toBe(true);
  expect(commits()).toBe(2);
  expect(result.revision).toBe(hub.repositories.get('acme/spam')!.refs.main);
});

test('a tag that exists is never moved, and nothing is sent', async () => {
  const { hub, pushed } = await hubFor();
  const folder = bundle();
  await pushed(folder, { tag: 'v1' });
  const { v1 } = hub.repositories.get('acme/spam')!.refs;
  writeFileSync(join(folder, 'vocab.txt'), 'b\n');
  hub.requests.length = 0;
  const failed = await pushed(folder, { tag: 'v1' }).catch((error) => error);
  expect(failed.message).toMatch(/^the tag v1 of acme\/spam is the commit \w{7}, which is not what you push/);
  expect(failed.hint).toContain('hf repos tag delete acme/spam v1');
  expect(hub.requests.filter(({ url }) => /commit|batch/.test(url))).toEqual([]);
  await pushed(folder, { tag: 'v2' });
  expect((await pushed(folder, { tag: 'v1' }).catch((error) => error)).message).toContain('the tag v1');
  expect(hub.repositories.get('acme/spam')!.refs.v1).toBe(v1);
});

test('a private push never goes to a public repository', async () => {
  const { hub, pushed } = await hubFor();
  hub.publish('acme/spam', { 'README.md': 'x' });
  await expect(pushed(bundle(), { private: true })).rejects.toThrow('acme/spam is public, but the push is private, so nothing was sent');
  hub.publish('acme/spam', { 'README.md': 'x' }, { private: true });
  expect((await pushed(bundle())).pushed.private).toBe(true);
});

test.each([
  ['spam', 'spam is not of the form OWNER/NAME'],
  ['hf://acme/spam', 'hf://acme/spam is not of the form OWNER/NAME'],
  ['https://huggingface.co/acme/spam', 'not of the form'],
  ['datasets/acme/spam', 'not a repository of a model'],
  ['acme/spam filter', 'not a name that a hub accepts'],
  ['acme/spam.git', 'not a name that a hub accepts'],
  ['acme/a--b', 'not a name that a hub accepts'],
  ['../spam', 'not a name that a hub accepts'],
])('the repository %s is refused', (repo, message) => {
  expect(nameProblem({ repo })).toMatchObject({ option: 'repo', message: expect.stringContaining(message) });
});

test('names of branches and tags are those of git', () => {
  const problem = (names: object) => nameProblem({ repo: 'acme/spam', ...names })?.option;
  for (const name of ['main', 'v1.0', 'release/2026-01', 'a_b']) expect(problem({ branch: name, tag: name }), name).toBe(undefined);
  for (const name of ['', 'a b', 'refs/pr/1', '-x', 'a..b', 'x.lock', 'a/', '0'.repeat(40), 'a~1'])
    expect(problem({ tag: name }), name).toBe('tag');
});
