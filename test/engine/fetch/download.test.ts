/** Downloads of one file from servers with all kinds of behaviour. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { expect, onTestFinished, test, vi } from 'vitest';
import { type DownloadRequest, download, type FileHash } from '../../../engine/fetch/download.ts';
import { project } from '../../rig.ts';
import { portOf, sha256 } from './hub.ts';

const CONTENT = Buffer.from('0123456789'.repeat(1000));

async function fetching(
  handle: (request: IncomingMessage, response: ServerResponse, count: number) => void,
  more: Partial<DownloadRequest> = {},
) {
  let count = 0;
  const server = createServer((request, response) => handle(request, response, ++count));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const p = project();
  let bytes = 0;
  const said: string[] = [];
  const wanted: DownloadRequest = {
    url: `http://127.0.0.1:${portOf(server)}/file`,
    to: p.path('cache/file'),
    what: 'the file',
    hash: { kind: 'sha256', hex: sha256(CONTENT) } as FileHash,
    refused: async (response) => new Error(`refused: ${response.status}`),
    log: (message) => said.push(message),
    onBytes: (came) => {
      bytes += came;
    },
    ...more,
  };
  return {
    p,
    said,
    url: wanted.url,
    requests: () => count,
    bytes: () => bytes,
    file: wanted.to,
    begun: (part: Uint8Array | string) => p.write('cache/file.incomplete', part),
    go: () => download(wanted),
  };
}

/** Closes the connection in the middle of a response. */
function cut(response: ServerResponse, bytes: Buffer): void {
  response.write(bytes, () => setTimeout(() => response.destroy(), 10));
}

test('without support for ranges, the download starts again; a missing length is accepted', async () => {
  const { go, begun, bytes, file } = await fetching((_, response) => {
    response.writeHead(200);
    response.write(CONTENT.subarray(0, 3000));
    response.end(CONTENT.subarray(3000));
  });
  begun(CONTENT.subarray(0, 5000));
  await go();
  expect(readFileSync(file)).toEqual(CONTENT);
  expect(bytes()).toBe(CONTENT.length);
  expect(existsSync(`${file}.incomplete`)).toBe(false);
});

test('the partial download of another file is discarded', async () => {
  for (const part of ['x'.repeat(5000), 'x'.repeat(CONTENT.length), 'x'.repeat(CONTENT.length + 5)]) {
    const { go, begun, bytes, file } = await fetching((request, response) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (from >= CONTENT.length) return void response.writeHead(416, { 'content-range': `bytes */${CONTENT.length}` }).end();
      const range = from > 0 ? { 'content-range': `bytes ${from}-${CONTENT.length - 1}/${CONTENT.length}` } : {};
      response.writeHead(from > 0 ? 206 : 200, range).end(CONTENT.subarray(from));
    });
    begun(part);
    await go();
    expect(readFileSync(file)).toEqual(CONTENT);
    expect(bytes()).toBe(CONTENT.length);
  }
});

test('a response that breaks is retried, but not forever', async () => {
  const rest = (request: IncomingMessage) => Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const good = await fetching((request, response) => {
    const from = rest(request);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': CONTENT.length - from,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${CONTENT.length - 1}/${CONTENT.length}` } : {}),
    });
    if (from < 9000) cut(response, CONTENT.subarray(from, from + 4000));
    else response.end(CONTENT.subarray(from));
  });
  await good.go();
  expect(readFileSync(good.file)).toEqual(CONTENT);
  expect(good.requests()).toBeGreaterThan(2);
  expect(good.said[0]).toMatch(/^the file: .* after \d+ bytes; resuming$/);
});

test('a server that stops in the middle of a response times out', async () => {
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.2');
  onTestFinished(() => void vi.unstubAllEnvs());
  const { go, requests, file } = await fetching((request, response, count) => {
    if (count === 1) response.write(CONTENT.subarray(0, 100));
    else if (count > 2)
      response.writeHead(request.headers.range ? 206 : 200, { 'content-range': `bytes 100-9999/10000` }).end(CONTENT.subarray(100));
  });
  await go();
  expect(requests()).toBe(3);
  expect(readFileSync(file)).toEqual(CONTENT);
});

test('wrong bytes, too many bytes, no answer: nothing is kept, and the error is reported', async () => {
  const other = await fetching((_, response) => void response.end('other'));
  await expect(other.go()).rejects.toThrow(/^the file has the wrong SHA-256: [0-9a-f]{64} instead of /);
  const more = await fetching((_, response) => void response.end(`${CONTENT}more`), { size: CONTENT.length });
  await expect(more.go()).rejects.toThrow('the file is too large: received more than');
  const none = await fetching((_, response) => void response.writeHead(404).end());
  await expect(none.go()).rejects.toThrow('refused: 404');
  for (const { file, p } of [other, more, none]) {
    expect(existsSync(file)).toBe(false);
    expect(p.find('cache')).toEqual([]);
  }
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${portOf(server)}`;
  await new Promise((resolve) => server.close(resolve));
  const gone = await fetching(() => {}, { url: `http://${host}/file` });
  await expect(gone.go()).rejects.toThrow(`cannot reach ${host}: connection refused`);
});

test('a file that is shorter than listed is not requested forever', async () => {
  for (const length of [{ 'content-length': CONTENT.length }, {}]) {
    const short = await fetching(
      (request, response) => {
        if (request.headers.range) response.writeHead(416, { 'content-range': `bytes */${CONTENT.length}` }).end();
        else response.writeHead(200, length).write(CONTENT, () => response.end());
      },
      { size: CONTENT.length + 5 },
    );
    await expect(short.go()).rejects.toThrow(`${CONTENT.length} bytes instead of ${CONTENT.length + 5}`);
    expect(short.requests()).toBeLessThan(6);
    expect(short.p.find('cache')).toEqual([]);
  }
});

test('a file that does not fit on the disk is not started', async () => {
  const { go, file } = await fetching((_, response) => void response.writeHead(200, { 'content-length': 9e15 }).write('0'), { size: 9e15 });
  await expect(go()).rejects.toThrow(/^disk full while downloading the file: 9000 TB needed, /);
  expect(statSync(`${file}.incomplete`, { throwIfNoEntry: false })?.size ?? 0).toBe(0);
});

test('a redirect sends no credentials to another host', async () => {
  const seen: (string | undefined)[] = [];
  const { go } = await fetching(
    (request, response) => {
      seen.push(`${request.headers.host!.split(':')[0]} ${request.headers.authorization}`);
      const port = request.headers.host!.split(':')[1];
      if (request.url === '/file') response.writeHead(302, { location: '/second' }).end();
      else if (request.url === '/second') response.writeHead(307, { location: `http://localhost:${port}/third` }).end();
      else response.end(CONTENT);
    },
    { authorization: 'Bearer mine' },
  );
  await go();
  expect(seen).toEqual(['127.0.0.1 Bearer mine', '127.0.0.1 Bearer mine', 'localhost undefined']);
});
