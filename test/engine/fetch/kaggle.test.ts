/** The part of Kaggle's public API that reading datasets and competitions needs. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { expect, onTestFinished, test, vi } from 'vitest';
import { engine } from '../run/rig.ts';
import { zipOf } from './archives.ts';
import { portOf, send, type Trouble } from './hub.ts';

/** The files of mary/mails by version. `rules`: whether the rules of the competition were accepted. */
async function kaggle(versions: Record<string, string>[]) {
  const requests: string[] = [];
  const troubles: Trouble[] = [];
  const state = { versions, rules: true, packed: false };
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://kaggle');
    requests.push(url.pathname + url.search);
    const json = (status: number, body: unknown) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const [user, key] = Buffer.from(request.headers.authorization?.replace('Basic ', '') ?? '', 'base64')
      .toString()
      .split(':');
    if (url.pathname.startsWith('/storage/')) {
      if (request.headers.authorization) return json(400, { message: 'credentials are for kaggle.com alone' });
      const bytes = Buffer.from(url.pathname.slice('/storage/'.length), 'hex');
      const trouble = troubles.shift();
      const md5 = createHash('md5').update(bytes).digest('base64');
      return send(
        request,
        response,
        bytes,
        { 'x-goog-hash': `crc32c=AAAAAA==,md5=${md5}`, ...(state.packed ? { 'content-type': 'application/zip' } : {}) },
        trouble,
      );
    }
    if (user !== 'mary' || key !== 'k3y-of-mary') return json(401, { code: 401, message: 'Unauthenticated' });
    const hand = (bytes: Buffer) =>
      void response.writeHead(302, { location: `http://localhost:${portOf(server)}/storage/${bytes.toString('hex')}` }).end();
    const [, what, name, file] =
      /^\/api\/v1\/((?:datasets|competitions\/data)\/\w+(?:-\w+)?)\/(mary\/mails|spam)(?:\/(.+))?$/.exec(url.pathname) ?? [];
    const version = Number(url.searchParams.get('datasetVersionNumber') ?? state.versions.length);
    const files = state.versions[version - 1];
    if (name === undefined || !files) return json(404, { code: 404, message: 'Not found' });
    if (name === 'spam' && !state.rules) return json(403, { code: 403, message: 'You must accept this competition’s rules' });
    const path = file && decodeURIComponent(file);
    switch (what) {
      case 'datasets/view':
        return json(200, { ref: 'mary/mails', currentVersionNumber: state.versions.length });
      case 'datasets/list':
      case 'competitions/data/list': {
        const at = Number(url.searchParams.get('pageToken') ?? 0);
        const names = Object.keys(files);
        const page = names
          .slice(at, at + 2)
          .map((one) => ({ name: one, totalBytes: files[one]!.length, creationDate: '2026-01-01T00:00:00Z' }));
        const nextPageToken = at + 2 < names.length ? String(at + 2) : '';
        return json(200, what === 'datasets/list' ? { datasetFiles: page, nextPageToken } : { files: page, nextPageToken });
      }
      case 'datasets/download':
      case 'competitions/data/download': {
        if (path === undefined) return hand(zipOf(Object.entries(files).map(([one, content]) => ({ path: one, content }))));
        if (files[path] === undefined) return json(404, { code: 404, message: 'Not found' });
        return hand(state.packed ? zipOf([{ path: path.split('/').at(-1)!, content: files[path] }]) : Buffer.from(files[path]));
      }
      case 'competitions/data/download-all':
        return hand(zipOf(Object.entries(files).map(([one, content]) => ({ path: one, content }))));
      default:
        return json(404, {});
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(stop);
  return Object.assign(state, { url: `http://127.0.0.1:${portOf(server)}`, requests, troubles, stop });
}

async function fixture(address: string, versions = VERSIONS) {
  const server = await kaggle(versions);
  const p = engine(`
steps:
  list:
    run: for f in \${{ inputs.in }}; do if test -d $f; then (cd $f && find . -type f | sort); else echo "$(basename $f) $(cat $f)"; fi; done > \${{ outputs.list }}
    inputs: { in: '${address}' }
    outputs: { list: out/list.txt }
`);
  vi.stubEnv('KAGGLE_API_ENDPOINT', server.url);
  vi.stubEnv('KAGGLE_CONFIG_DIR', p.path('config'));
  vi.stubEnv('KAGGLE_USERNAME', 'mary');
  vi.stubEnv('KAGGLE_KEY', 'k3y-of-mary');
  vi.stubEnv('KAGGLE_API_TOKEN', undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
  const listed = async () => {
    const { list } = (await p.go()).failures;
    return list ? `${list.message}\n${list.hint}`.replaceAll(server.url, 'https://kaggle') : p.read('out/list.txt');
  };
  return { server, p, listed };
}

const VERSIONS: Record<string, string>[] = [
  { 'a.csv': 'old', 'b.csv': 'old' },
  { 'a.csv': 'a', 'b.csv': 'b', 'deep/c.csv': 'c', 'notes.txt': 'n' },
];

test('a version, a file, a glob, everything', async () => {
  expect(await (await fixture('kaggle://mary/mails@1/a.csv')).listed()).toBe('a.csv old\n');
  expect(await (await fixture('kaggle://mary/mails/deep/c.csv')).listed()).toBe('c.csv c\n');
  expect(await (await fixture('kaggle://mary/mails/**/*.csv')).listed()).toBe('a.csv a\nb.csv b\nc.csv c\n');
  expect(await (await fixture('kaggle://mary/mails')).listed()).toBe('./a.csv\n./b.csv\n./deep/c.csv\n./notes.txt\n');
  expect(await (await fixture('kaggle://mary/mails/deep')).listed()).toBe('./c.csv\n');
  expect(await (await fixture('kaggle://competitions/spam/b.csv')).listed()).toBe('b.csv b\n');
  expect(await (await fixture('kaggle://competitions/spam')).listed()).toContain('./a.csv\n');
});

test('the newest version is used; without a network, the last known one, with a notice', async () => {
  const { server, p, listed } = await fixture('kaggle://mary/mails/a.csv', [VERSIONS[0]!]);
  expect(await listed()).toBe('a.csv old\n');
  server.requests.length = 0;
  expect((await p.go()).states).toEqual({ list: 'fresh' });
  expect(server.requests).toEqual(['/api/v1/datasets/view/mary/mails']);
  server.versions = VERSIONS;
  expect(await listed()).toBe('a.csv a\n');
  server.stop();
  const { states, notices } = await p.go({ force: true });
  expect(states).toEqual({ list: 'ran' });
  expect(notices[0]).toContain('using the last known version of kaggle://mary/mails, 2');
});

test('files that Kaggle has zipped are unpacked; damaged ones are refused', async () => {
  const { server, listed } = await fixture('kaggle://mary/mails/deep/c.csv');
  server.packed = true;
  expect(await listed()).toBe('c.csv c\n');
  const spoiled = await fixture('kaggle://mary/mails/a.csv');
  spoiled.server.troubles.push({ at: '', spoil: () => Buffer.from('?') });
  expect(await spoiled.listed()).toMatch(/^kaggle:\/\/mary\/mails\/a.csv has the wrong MD5: /);
  expect(await spoiled.listed()).toBe('a.csv a\n');
});

test('the account is found as Kaggle’s own tools find it, and is not disclosed', async () => {
  const { p, listed } = await fixture('kaggle://mary/mails/a.csv');
  vi.stubEnv('KAGGLE_USERNAME', undefined);
  vi.stubEnv('KAGGLE_KEY', undefined);
  expect(await listed()).toMatchInlineSnapshot(`
    "kaggle://mary/mails/a.csv needs a Kaggle account, but no credentials are set
    Create an API key in the settings at kaggle.com. Then set KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json in ~/.kaggle (or KAGGLE_CONFIG_DIR)."
  `);
  p.write('config/kaggle.json', '{"username":"mary","key":"wrong"}');
  expect(await listed()).toMatchInlineSnapshot(`
    "Kaggle rejected your credentials
    Create an API key in the settings at kaggle.com. Then set KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json in ~/.kaggle (or KAGGLE_CONFIG_DIR)."
  `);
  p.write('config/kaggle.json', '{"username":"mary","key":"k3y-of-mary"}');
  expect(await listed()).toBe('a.csv a\n');
  const { code, screen } = await p.run('run', 'p.yaml', '--force');
  expect([code, screen.includes('k3y-of-mary')]).toEqual([0, false]);
  expect(p.find('.tunesmith').filter((file) => p.read(file).includes('k3y-of-mary'))).toEqual([]);
});

test('missing files and unaccepted rules are reported', async () => {
  expect(await (await fixture('kaggle://mary/males')).listed()).toMatchInlineSnapshot(`
    "Kaggle has no kaggle://mary/males
    Check the name and version: https://kaggle/datasets/mary/males"
  `);
  expect(await (await fixture('kaggle://mary/mails@7')).listed()).toMatchInlineSnapshot(`
    "Kaggle has no kaggle://mary/mails@7
    Check the name and version: https://kaggle/datasets/mary/mails"
  `);
  expect(await (await fixture('kaggle://mary/mails@2/d.csv')).listed()).toMatchInlineSnapshot(`
    "there is no d.csv in kaggle://mary/mails@2
    did you mean "a.csv"? its files: a.csv, b.csv, deep/c.csv, notes.txt"
  `);
  expect(await (await fixture('kaggle://mary/mails@2/*.json')).listed()).toMatchInlineSnapshot(`
    "nothing in kaggle://mary/mails@2 matches *.json
    its files: a.csv, b.csv, deep/c.csv, notes.txt"
  `);
  const closed = await fixture('kaggle://competitions/spam/a.csv');
  closed.server.rules = false;
  expect(await closed.listed()).toMatchInlineSnapshot(`
    "Kaggle denied access to kaggle://competitions/spam
    Accept the rules at https://kaggle/competitions/spam/rules with the account of your key."
  `);
});
