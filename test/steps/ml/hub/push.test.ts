/** Pushes to a hub in this process: what is sent, what is not sent again, and what happens if something is in the way. */
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { nameProblem, type PushOptions, push, pushBundle } from '../../../../steps/ml/hub/push.ts';
import { sha256, startHub } from '../../../engine/fetch/hub.ts';
import { project } from '../../../rig.ts';
import { promotable } from '../../promote/bundles.ts';
import { temporary } from '../../rig.ts';

const TOKEN = 'secret-of-a-hub';
const CARD = '---\nlicense: mit\n---\n\n# a\n';

function bundle(folder?: string): string {
  const made = promotable('a', folder);
  writeFileSync(join(made, 'README.md'), CARD);
  writeFileSync(join(made, 'model.safetensors'), Buffer.alloc(300_000, 'weights '));
  return made;
}

async function hubFor(account: { mayRead?: string[]; mayWrite: string[] } = { mayWrite: ['acme'] }) {
  const hub = await startHub();
  hub.tokens.set(TOKEN, { mayRead: [], ...account });
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_TOKEN', TOKEN);
  vi.stubEnv('HF_HUB_OFFLINE', '');
  const log: string[] = [];
  const pushed = (folder: string, options: Partial<PushOptions> = {}, signal = new AbortController().signal) =>
    push(folder, { repo: 'acme/spam', ...options }, { signal, log: (line) => log.push(line), onBytes() {} });
  const head = (revision = 'main') => {
    const { refs, commits } = hub.repositories.get('acme/spam')!;
    return commits[refs[revision]!]!;
  };
  /** The bytes of large files that arrived, by hash. */
  const arrived = (file: string) =>
    hub.requests.filter(({ url }) => url.startsWith(`/${sha256(readFileSync(file))}`)).reduce((sum, { received = 0 }) => sum + received, 0);
  return { hub, log, pushed, head, arrived, commits: () => Object.keys(hub.repositories.get('acme/spam')!.commits).length };
}

test('the command creates the repository, commits and tags; a second push changes nothing; a third sends only what changed', async () => {
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

  hub.requests.length = 0;
  writeFileSync(join(folder, 'README.md'), `${CARD}\nMore.\n`);
  rmSync(join(folder, 'special_tokens_map.json'), { force: true });
  writeFileSync(join(folder, 'vocab.txt'), 'a\n');
  const third = await p.run('push', 'a', 'acme/spam', '--branch', 'next/one');
  expect(third.stdout).toMatch(/^pushed 2 files to acme\/spam, branch next\/one: commit/);
  expect(hub.requests.filter(({ server }) => server === 'cdn')).toEqual([]);
  expect(hub.repositories.get('acme/spam')!.refs.main).toBe(refs.main);
  expect(String(head('next/one')['vocab.txt'])).toBe('a\n');
  for (const { server, authorization } of hub.requests) expect(authorization).toBe(server === 'hub' ? `Bearer ${TOKEN}` : undefined);
}, 60_000);

test('files that the bundle does not have stay, unless they are to be deleted', async () => {
  const { hub, pushed, head } = await hubFor();
  hub.publish('acme/spam', { '.gitattributes': 'x', 'LICENSE.txt': 'mine', 'old/model.onnx': 'old' });
  const folder = bundle();
  expect((await pushed(folder)).others).toEqual(['LICENSE.txt', 'old/model.onnx']);
  expect(Object.keys(head())).toContain('LICENSE.txt');
  const { others, changed } = await pushed(folder, { delete_others: true });
  expect([others, changed]).toEqual([[], true]);
  expect(Object.keys(head())).not.toContain('LICENSE.txt');
  expect(Object.keys(head())).toContain('.gitattributes');
});

test('an address of the storage that has expired is asked for again', async () => {
  const { hub, log, pushed, head } = await hubFor();
  const folder = bundle();
  hub.trouble({ at: `cdn/${sha256(readFileSync(join(folder, 'model.safetensors')))}`, status: 403 });
  await pushed(folder);
  expect(head()['model.safetensors']!.length).toBe(300_000);
  expect(log).toEqual([]);
});

test('a killed push: the next one sends only the file that was on its way', async () => {
  const { hub, head, arrived } = await hubFor();
  const p = project({}, { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN });
  const folder = bundle(p.path('a'));
  const [weights, onnx] = [join(folder, 'model.safetensors'), join(folder, 'onnx/model.onnx')];
  // model.safetensors comes first; onnx/model.onnx hangs.
  hub.trouble({ at: `cdn/${sha256(readFileSync(onnx))}`, stall: 0 });
  const started = p.start('push', 'a', 'acme/spam');
  await p.until(() => hub.requests.some(({ url }) => url.includes(sha256(readFileSync(onnx)))));
  started.kill('SIGINT');
  const { code, stderr } = await started.done;
  expect(code).toBe(130);
  expect(stderr).toBe('stopping…\ninterrupted; run the same command again to go on\n');
  const sent = arrived(weights);
  await p.run('push', 'a', 'acme/spam');
  expect(sent).toBe(300_000);
  expect(arrived(weights)).toBe(sent);
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
  ['an expired token', { at: '/api/models/acme/spam', status: 401 }, /rejected the token/, /settings\/tokens/],
  ['no right to write', { at: '/preupload/', status: 403 }, /may not write to acme\/spam/, /permission to write/],
  ['a full server', { at: '/commit/', status: 507 }, /has no room/, /Free some space/],
  ['a full storage', { at: 'cdn/', status: 507 }, /has no room/, /Free some space/],
  ['a conflict', { at: '/commit/', status: 412, times: 9 }, /was changed by somebody else/, /Push again/],
  ['a login page', { at: '/refs', status: 200 }, /not from a hub/, /HF_ENDPOINT/],
] as const)('%s: the message says what to do', async (_, trouble, message, hint) => {
  const { hub, pushed } = await hubFor();
  hub.publish('acme/spam', {});
  hub.trouble(trouble);
  const failed = await pushed(bundle()).catch((error) => error);
  expect(failed.message).toMatch(message);
  expect(failed.hint).toMatch(hint);
  expect(failed.message + failed.hint).not.toContain(TOKEN);
});

test('no token, no network, another namespace, another account, and metadata that the hub refuses', async () => {
  const { hub, pushed } = await hubFor();
  const folder = bundle();
  await expect(pushed(folder, { repo: 'other/spam' })).rejects.toThrow('may not write to other/spam');
  hub.publish('acme/spam', {}, { private: true });
  hub.tokens.set('stranger', { mayRead: [] });
  vi.stubEnv('HF_TOKEN', 'stranger');
  await expect(pushed(folder)).rejects.toThrow('may not write to acme/spam');
  vi.stubEnv('HF_TOKEN', TOKEN);
  writeFileSync(join(folder, 'README.md'), '---\nlicense: mine\n---\n');
  await expect(pushed(folder)).rejects.toThrow('the hub refuses the metadata of README.md: "license" must be one of');
  rmSync(join(folder, 'README.md'));
  await expect(pushed(folder)).rejects.toThrow('no model card');
  hub.stop();
  writeFileSync(join(folder, 'README.md'), CARD);
  await expect(pushed(folder)).rejects.toMatchObject({
    message: expect.stringContaining('connection refused'),
    hint: expect.stringContaining('push again'),
  });
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HUGGING_FACE_HUB_TOKEN', '');
  vi.stubEnv('HF_TOKEN_PATH', '/nowhere');
  await expect(pushed(folder)).rejects.toThrow('HF_TOKEN is not set');
});

test('a bundle that changes during the push is not committed', async () => {
  const { hub, head, pushed } = await hubFor();
  const folder = bundle();
  const weights = join(folder, 'model.safetensors');
  hub.publish('acme/spam', {});
  const before = head();
  hub.trouble({ at: 'batch', status: 503, headers: { 'retry-after': '1' } });
  const failed = pushed(folder);
  await vi.waitFor(() => expect(hub.requests.some(({ url }) => url.includes('batch'))).toBe(true));
  utimesSync(weights, 1, 1);
  await expect(failed).rejects.toThrow('model.safetensors changed during the push, so nothing was committed');
  hub.trouble({ at: '/preupload/', status: 503, headers: { 'retry-after': '1' } });
  hub.requests.length = 0;
  const gone = pushed(folder);
  await vi.waitFor(() => expect(hub.requests.some(({ url }) => url.includes('preupload'))).toBe(true));
  rmSync(join(folder, 'tokenizer.json'));
  await expect(gone).rejects.toThrow('tokenizer.json changed during the push');
  expect(head()).toBe(before);
});

test('a folder that is no bundle is refused', async () => {
  await hubFor();
  const progress = { signal: new AbortController().signal, log() {}, onBytes() {} };
  await expect(pushBundle(temporary(), { repo: 'acme/spam' }, progress)).rejects.toThrow('has no config.json');
  await expect(pushBundle('/nowhere', { repo: 'acme/spam' }, progress)).rejects.toThrow('does not exist');
  expect(existsSync('/nowhere')).toBe(false);
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
