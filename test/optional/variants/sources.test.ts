/** The hub and its cache with the real CLI: downloads that break, hashes, commits, and messages. */
import { readFileSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BLOBS, failureOf, fixture, listing, MODEL } from '../../contract/hub-project.ts';
import { sha256 } from '../../engine/fetch/hub.ts';
import { type Project, project } from '../../rig.ts';

/** The number of downloaded bytes of the weights. */
function partOf(p: Project): number | undefined {
  const part = p.path(`${BLOBS}/${sha256(Buffer.from(MODEL['model.safetensors'] as string))}.incomplete`);
  return statSync(part, { throwIfNoEntry: false })?.size;
}

test("a killed run's download is resumed, and a partial file is never used", async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  hub.trouble({ at: 'cdn/', stall: 500_000 });
  const started = p.start('run', 'p.yaml', '--plain');
  await p.until(() => partOf(p) === 500_000);
  started.kill('SIGKILL');
  await started.done;
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
  expect(hub.requests.findLast(({ server }) => server === 'cdn')!.range).toBe('bytes=500000-');
  expect(p.find(BLOBS).filter((file) => file.endsWith('.incomplete'))).toEqual([]);
});

test('Ctrl-C stops a download at once and keeps the partial file', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  hub.trouble({ at: 'cdn/', stall: 500_000 });
  const started = p.start('run', 'p.yaml', '--plain');
  await p.until(() => partOf(p) === 500_000);
  started.kill('SIGINT');
  const { code, stdout } = await started.done;
  expect(code).toBe(130);
  expect(stdout).toContain('1 canceled');
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
});

test('a file that is damaged in the cache is downloaded again', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  await p.states('p.yaml');
  for (const blob of p.find(BLOBS)) p.write(blob, p.read(blob).replace(/./, '?'));
  const { cells, events } = await p.states('p.yaml', '--force');
  expect(cells).toEqual({ list: 'ran' });
  expect(events.flatMap(({ line }) => line ?? []).join('\n')).toContain('model.safetensors of hf://owner/tiny is damaged in the cache');
  expect(readFileSync(p.path(p.find('hf').find((file) => /snapshots.*model.safetensors$/.test(file))!), 'utf8')).toBe(
    MODEL['model.safetensors'],
  );
});

test('without a network, missing files are detected', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  p.env.HF_HUB_OFFLINE = '1';
  const nothing = await failureOf(p);
  expect(nothing.message.replaceAll(p.folder, '')).toBe('hf://owner/tiny is not in the cache /hf/hub, and HF_HUB_OFFLINE is set');
  expect(hub.requests).toEqual([]);
  p.env.HF_HUB_OFFLINE = undefined;
  await p.states('p.yaml');
  p.env.HF_HUB_OFFLINE = '1';
  p.remove(p.find('hf').find((file) => /snapshots.*vocab.txt$/.test(file))!);
  expect((await p.states('p.yaml', '--force')).events.find(({ failure }) => failure).failure.message).toMatch(
    /lacks files of hf:\/\/owner\/tiny at commit \w{7}, and HF_HUB_OFFLINE is set: vocab.txt$/,
  );
  hub.stop();
  p.env.HF_HUB_OFFLINE = undefined;
  p.remove('hf');
  expect(await failureOf(p)).toMatchObject({ message: expect.stringMatching(/^cannot reach 127.0.0.1:\d+: connection refused$/) });
});

test('many cells resolve and download once, and so do two projects at the same time', async () => {
  const { hub, p } = await fixture(`
steps:
  list:
    matrix: { n: [1, 2, 3, 4, 5, 6] }
    run: ls \${{ inputs.model }} > \${{ outputs.list }}
    inputs: { model: hf://owner/tiny }
    outputs: { list: "out/\${{ matrix.n }}" }
`);
  hub.publish('owner/tiny', MODEL);
  const other = project({ 'p.yaml': listing('hf://owner/tiny') });
  Object.assign(other.env, p.env);
  const ended = await Promise.all([p.states('p.yaml', '-j', '4'), other.states('p.yaml')]);
  expect(ended.map(({ code }) => code)).toEqual([0, 0]);
  expect(hub.requests.filter(({ url }) => url.includes('/revision/'))).toHaveLength(2);
  expect(hub.requests.filter(({ server }) => server === 'cdn')).toHaveLength(1);
});

test('after losing access, the cached files are used with a notice', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL, { private: true });
  hub.tokens.set('hf_mine', { mayRead: ['owner/tiny'] });
  p.env.HF_TOKEN = 'hf_mine';
  await p.states('p.yaml');
  p.env.HF_TOKEN = undefined;
  const { cells, events } = await p.states('p.yaml', '--force');
  expect(cells).toEqual({ list: 'ran' });
  expect(events.find(({ type }) => type === 'notice').message).toMatch(
    /or it is private or gated; using the last known commit of hf:\/\/owner\/tiny/,
  );
});

test('a host that is not a hub or does not exist is reported without a stack trace', async () => {
  const { hub, p } = await fixture();
  hub.trouble({ at: '/revision/', status: 200 });
  expect((await failureOf(p)).message).toMatch(/^the response of http:\/\/127.0.0.1:\d+ is not from a hub/);
  p.env.HF_ENDPOINT = 'not a url';
  expect((await failureOf(p)).message).toBe('HF_ENDPOINT is not a URL: not a url');
  p.env.HF_ENDPOINT = 'https://no-such-host.invalid';
  expect((await failureOf(p)).message).toMatch(/^cannot reach no-such-host.invalid: /);
});

test('Ctrl-C and a timeout end the wait for a hub that asks to wait', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  hub.trouble({ at: '/revision/', status: 429, headers: { 'retry-after': '120' } });
  const started = p.start('run', 'p.yaml', '--plain');
  await p.until(() => hub.requests.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  started.kill('SIGINT');
  const { code, stdout, stderr } = await started.done;
  expect([code, stderr]).toEqual([130, '']);
  expect(stdout).toContain('1 canceled');

  p.write('p.yaml', `${listing('hf://owner/tiny').trimEnd()}\n    timeout: 1s\n`);
  hub.trouble({ at: 'cdn/', stall: 1000 });
  expect((await failureOf(p)).message).toBe('timed out after 1s');
});

test('a file instead of a folder, and many files instead of one, are reported after the download', async () => {
  const { hub, p } = await fixture(`
steps:
  a: { uses: tokenize, with: { data: ., model: hf://owner/tiny/config.json } }
`);
  hub.publish('owner/tiny', MODEL);
  expect((await failureOf(p)).message).toBe('input model takes a folder, but hf://owner/tiny/config.json is a file');
  p.write('p.yaml', p.read('p.yaml').replace('config.json', '*.json'));
  expect((await failureOf(p)).message).toBe('input model takes one folder, but 2 match hf://owner/tiny/*.json');
});

test('only the commit of a branch enters the fingerprint', async () => {
  const { hub, p } = await fixture();
  const old = hub.publish('owner/tiny', MODEL);
  await p.states('p.yaml');
  // Another address of the same hub, and the commit instead of the branch: the same model.
  p.env.HF_ENDPOINT = hub.url.replace('127.0.0.1', 'localhost');
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'fresh' });
  p.write('p.yaml', listing(`hf://models/owner/tiny@${old}`));
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'fresh' });
  p.write('p.yaml', listing('hf://owner/tiny'));

  const now = hub.publish('owner/tiny', { ...MODEL, 'vocab.txt': 'a\nb\nc\n' });
  const { stdout } = await p.run('explain', 'list', '-f', 'p.yaml');
  expect(stdout).toContain(`hf://owner/tiny is ${now.slice(0, 12)}`);
  expect(stdout).toContain(`input model hf://owner/tiny: ${old.slice(0, 7)} → ${now.slice(0, 7)}`);
  const { cells, events } = await p.states('p.yaml');
  expect(cells).toEqual({ list: 'ran' });
  expect(events.find(({ type }) => type === 'running').why).toBe(`input model hf://owner/tiny: ${old.slice(0, 7)} → ${now.slice(0, 7)}`);
  expect(p.read('hf/hub/models--owner--tiny/refs/main')).toBe(now);

  hub.publish('owner/other', MODEL);
  p.write('p.yaml', listing('hf://owner/other'));
  expect((await p.run('status', 'p.yaml')).stdout).toContain('input model: hf://owner/tiny → hf://owner/other');
});

test('missing permission and missing files have different messages', async () => {
  const { hub, p } = await fixture();
  /** Each address in its own step. */
  const failed = async (...addresses: string[]) => {
    p.write('p.yaml', `steps:\n${addresses.map((address, i) => `  s${i}: { run: "true", inputs: { in: "${address}" } }\n`).join('')}`);
    const { events } = await p.states('p.yaml', '--on-failure', 'continue', '-j', '1');
    const told = events.flatMap(({ failure }) => (failure ? `${failure.message}\n  ${failure.hint.replaceAll('\n', '\n  ')}` : []));
    expect(told).toHaveLength(addresses.length);
    return told.sort().join('\n').replaceAll(hub.url, 'http://hub').replaceAll(new URL(hub.url).host, 'hub');
  };
  hub.publish('owner/tiny', MODEL);
  hub.publish('owner/gated', MODEL, { gated: true });
  hub.publish('owner/private', MODEL, { private: true });
  hub.publish('owner/pickles', { 'config.json': '{}', 'pytorch_model.bin': 'pickle' });
  hub.tokens.set('hf_stranger', { mayRead: [] });

  expect(await failed('hf://owner/gated', 'hf://owner/private', 'hf://owner/none')).toMatchInlineSnapshot(`
    "hf://owner/gated is gated: you must accept its terms
      Accept the terms at http://hub/owner/gated and set HF_TOKEN (http://hub/settings/tokens).
    there is no model owner/none at hub, or it is private or gated
      Check the name. If it is correct, set HF_TOKEN, and accept the terms at http://hub/owner/none if there are any.
    there is no model owner/private at hub, or it is private or gated
      Check the name. If it is correct, set HF_TOKEN, and accept the terms at http://hub/owner/private if there are any."
  `);
  expect(
    await failed('hf://owner/tiny@v9', 'hf://owner/tiny/confg.json', 'hf://owner/tiny/*.onx', 'hf://datasets/owner/tiny'),
  ).toMatchInlineSnapshot(`
    "nothing in hf://owner/tiny matches *.onx
      its files: .gitattributes, 1_Pooling/config.json, README.md, config.json, model.safetensors, onnx/config.json, onnx/model.onnx, pytorch_model.bin, tokenizer.json, vocab.txt
    owner/tiny has no revision v9
      Its branches and tags: http://hub/owner/tiny/tree/main
    there is no confg.json in hf://owner/tiny
      did you mean "config.json"? its files: .gitattributes, 1_Pooling/config.json, README.md, config.json, model.safetensors, onnx/config.json, onnx/model.onnx, pytorch_model.bin, tokenizer.json, vocab.txt
    there is no dataset owner/tiny at hub, or it is private or gated
      Check the name. If it is correct, set HF_TOKEN, and accept the terms at http://hub/datasets/owner/tiny if there are any."
  `);
  expect(await failed('hf://owner/pickles')).toMatchInlineSnapshot(`
    "hf://owner/pickles has its weights only as pytorch_model.bin, a pickle, which can run arbitrary code when it is opened; tunesmith reads only safetensors
      Let the hub convert it: huggingface.co/spaces/safetensors/convert opens a pull request. Its address is hf://owner/name@refs/pr/1.
      Or convert it with Python and use the folder with the result:
        import torch; from safetensors.torch import save_file
        weights = torch.load("pytorch_model.bin", weights_only=True)
        save_file({name: w.clone() for name, w in weights.items()}, "model.safetensors", {"format": "pt"})"
  `);
  p.env.HF_TOKEN = 'hf_stranger';
  expect(await failed('hf://owner/gated', 'hf://owner/private')).toMatchInlineSnapshot(`
    "hf://owner/gated is gated: you must accept its terms
      Accept the terms at http://hub/owner/gated with the account of your token.
    there is no model owner/private at hub, or it is private or gated
      Check the name, and whether the account of your token may read http://hub/owner/private."
  `);
  p.env.HF_TOKEN = 'hf_wrong';
  p.remove('hf');
  expect(await failed('hf://owner/tiny')).toMatchInlineSnapshot(`
    "hub rejected the token
      Set HF_TOKEN to a valid token, or unset it. Public repositories need no token."
  `);
});

test('a cached commit needs no network; a branch uses the last known commit, with a notice', async () => {
  const { hub, p } = await fixture();
  const commit = hub.publish('owner/tiny', MODEL);
  await p.states('p.yaml');
  hub.stop();
  const told = (events: any[]) =>
    events.flatMap(({ type, message }) => (type === 'notice' ? [message.replace(/\d+\.\d+\.\d+\.\d+:\d+/, 'hub')] : []));

  const gone = await p.states('p.yaml', '--force');
  expect(gone.cells).toEqual({ list: 'ran' });
  expect(told(gone.events)).toEqual([
    `cannot reach hub: connection refused; using the last known commit of hf://owner/tiny, ${commit.slice(0, 7)}`,
  ]);
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'fresh' });
  expect((await p.run('status', 'p.yaml', '--check')).code).toBe(0);
  expect((await p.run('explain', 'list')).stdout).toContain('list is fresh');
  expect((await p.run('run', 'p.yaml', '--dry-run')).code).toBe(0);

  p.write('p.yaml', listing(`hf://owner/tiny@${commit}`));
  expect(told((await p.states('p.yaml', '--force')).events)).toEqual([]);
  p.write('p.yaml', listing('hf://owner/tiny'));
  p.env.HF_HUB_OFFLINE = '1';
  expect(told((await p.states('p.yaml', '--force')).events)).toEqual([]);
});

test('a download with a wrong hash is deleted and reported', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  hub.trouble({ at: 'cdn/', spoil: (bytes) => Buffer.concat([Buffer.from('W'), bytes.subarray(1)]) });
  expect((await failureOf(p)).message).toMatch(/^hf:\/\/owner\/tiny\/model.safetensors has the wrong SHA-256: [0-9a-f]{64} instead of /);
  expect(p.find(BLOBS).some((file) => p.stat(file).size === 800_000)).toBe(false);
  hub.trouble({ at: '/config.json', spoil: (bytes) => Buffer.from(bytes.toString().toUpperCase()) });
  p.remove('hf');
  expect((await failureOf(p)).message).toMatch(/has the wrong git hash: [0-9a-f]{40} instead of /);
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
});

test('a busy hub is retried as it asks, and reported if it stays busy', async () => {
  const { hub, p } = await fixture();
  hub.publish('owner/tiny', MODEL);
  hub.trouble({ at: 'revision/main', status: 429, headers: { 'retry-after': '0' }, times: 2 });
  hub.trouble({ at: 'tree/', status: 503, headers: { 'retry-after': '0.1' } });
  hub.trouble({ at: 'resolve/', status: 500, headers: { 'retry-after': '0' } });
  hub.trouble({ at: 'cdn/', status: 502, headers: { 'retry-after': '0' } });
  expect((await p.states('p.yaml')).cells).toEqual({ list: 'ran' });
  p.remove('hf');
  hub.trouble({ at: 'revision/main', status: 429, headers: { 'retry-after': '3600' } });
  expect(await failureOf(p)).toMatchObject({
    message: expect.stringMatching(/^127.0.0.1:\d+ still answers 429, too many requests/),
    hint: expect.stringContaining('HF_TOKEN'),
  });
});
