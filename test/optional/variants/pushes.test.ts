/** Pushes with something in the way: a signal, a full disk, no rights, a folder that changes. */
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { pushBundle } from '../../../steps/ml/hub/push.ts';
import { sha256 } from '../../engine/fetch/hub.ts';
import { project } from '../../rig.ts';
import { projectThatPushes } from '../../steps/deploy/hub-project.ts';
import { bundle, CARD, hubFor, TOKEN } from '../../steps/ml/hub/pushes.ts';
import { temporary } from '../../steps/rig.ts';

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

test('a step whose push fails says what to do, and the next run goes on; --force makes no second commit; verify does not push', async () => {
  const { hub, p } = await projectThatPushes();
  hub.trouble({ at: '/commit/', status: 507 });
  const failed = await p.run('run', 'p.yaml');
  expect(failed.code).toBe(1);
  expect(failed.screen).toContain('has no room for the files, HTTP status 507');
  expect(failed.screen).toContain('Free some space on the hub or raise its limit, then push again.');
  hub.requests.length = 0;
  expect((await p.states('p.yaml')).cells).toEqual({ ship: 'ran' });
  expect(hub.requests.filter(({ server }) => server === 'cdn')).toEqual([]);
  const forced = await p.states('p.yaml', '--force');
  expect(forced.cells).toEqual({ ship: 'ran' });
  expect(JSON.stringify(forced.events)).toContain('unchanged, commit');
  expect(Object.keys(hub.repositories.get('acme/spam')!.commits).length).toBe(2);
  hub.requests.length = 0;
  expect((await p.run('verify', 'p.yaml', 'ship')).screen).toContain(
    'it depends on a repository on the hub outside of its inputs and outputs',
  );
  expect(hub.requests).toEqual([]);
}, 120_000);

test('a step takes the token that `hf auth login` has stored', async () => {
  const { hub, p } = await projectThatPushes();
  p.env.HF_TOKEN = undefined;
  p.env.HF_HOME = p.path('home of hf');
  p.write('home of hf/token', `${TOKEN}\n`);
  expect((await p.states('p.yaml')).cells).toEqual({ ship: 'ran' });
  expect(hub.repositories.get('acme/spam')!.refs.v1).toBeDefined();
}, 120_000);
