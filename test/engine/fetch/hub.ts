/**
 * A hub in this process with huggingface.co's responses: here is the part of the HTTP API that reading needs, and hub-uploads.ts has
 * the part that writes. A second server, which acts as the CDN, stores large files. Requests are recorded; `trouble` makes one fail.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { type HubState, HubUploads } from './hub-uploads.ts';

export type RepositoryFiles = Record<string, string | Uint8Array>;

export interface Repository {
  /** Commits of branches, tags and refs by name. */
  refs: Record<string, string>;
  commits: Record<string, RepositoryFiles>;
  gated?: boolean;
  private?: boolean;
  /** Which of `refs` are tags; for uploads. */
  tags?: Set<string>;
  /** The messages of pushed commits. */
  messages?: Record<string, string>;
}

export interface Request {
  server: 'hub' | 'cdn';
  method: string;
  url: string;
  authorization?: string;
  range?: string;
  /** The bytes of a large file that have arrived. */
  received?: number;
}

/** The fault for requests whose URL contains `at`: that many times, or always. */
export interface Trouble {
  at: string;
  times?: number;
  status?: number;
  headers?: Record<string, string>;
  /** Closes the connection after that many bytes of the body, which is that of the request if it has one. */
  cut?: number;
  /** Makes the commit, but closes the connection instead of answering. */
  lose?: boolean;
  /** Changes the bytes. */
  spoil?: (bytes: Buffer) => Buffer;
  /** Stops sending after that many bytes, but keeps the connection open. */
  stall?: number;
}

export type Hub = Awaited<ReturnType<typeof startHub>>;

export async function startHub() {
  const repositories = new Map<string, Repository>();
  const requests: Request[] = [];
  const troubles: Trouble[] = [];
  const tokens: HubState['tokens'] = new Map();
  const cdn = createServer((request, response) => {
    const trouble = hear('cdn', request);
    if (request.method === 'PUT' || request.method === 'POST') {
      const heard = requests.at(-1)!;
      return void uploads.store(request, response, trouble, (bytes) => {
        heard.received = (heard.received ?? 0) + bytes;
      });
    }
    const content = blobs.get(request.url!.slice(1).split('?')[0]!);
    if (!content) return void answer(response, 404, {}, '');
    send(request, response, content, {}, trouble);
  });
  const blobs = new Map<string, Buffer>();
  /** `hashless`: listings without hashes, as on some mirrors. `partSize`: of the parts in which large files are uploaded. */
  const state: { hashless: boolean; partSize?: number } = { hashless: false };
  const urlOf = (server: Server) => `http://127.0.0.1:${portOf(server)}`;
  const uploads = new HubUploads({
    repositories,
    blobs,
    tokens,
    get partSize() {
      return state.partSize;
    },
    hubUrl: () => urlOf(hub),
    cdnUrl: () => urlOf(cdn),
  });

  const hear = (server: 'hub' | 'cdn', { method, url, headers }: IncomingMessage): Trouble | undefined => {
    requests.push({ server, method: method!, url: url!, authorization: headers.authorization, range: headers.range });
    const trouble = troubles.find(({ at, times = 1 }) => `${server}${url}`.includes(at) && times > 0);
    if (trouble?.times !== undefined) trouble.times--;
    return trouble;
  };

  const hub = createServer(async (request, response) => {
    const trouble = hear('hub', request);
    if (trouble?.status !== undefined) return void answer(response, trouble.status, trouble.headers ?? {}, '');
    if (await uploads.handle(request, response, trouble).catch(() => true)) return;
    const url = new URL(request.url!, 'http://hub');
    const api = /^\/api\/(models|datasets)\/(.+?)\/(revision|tree)\/([^/?]+)/.exec(url.pathname);
    const file = /^\/(datasets\/)?(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const [name, written] = api
      ? [`${api[1] === 'datasets' ? 'datasets/' : ''}${api[2]}`, api[4]!]
      : file
        ? [`${file[1] ?? ''}${file[2]}`, file[3]!]
        : [];
    const repository = name === undefined ? undefined : repositories.get(name);
    const refused = refusal(name, repository, request.headers.authorization);
    if (refused) return void answer(response, ...refused);
    const revision = decodeURIComponent(written!);
    const commit = repository!.refs[revision] ?? (repository!.commits[revision] ? revision : undefined);
    if (commit === undefined)
      return void answer(
        response,
        404,
        { 'x-error-code': 'RevisionNotFound', 'x-error-message': 'Invalid rev id' },
        { error: 'Invalid rev id' },
      );
    const files = repository!.commits[commit]!;
    if (api?.[3] === 'revision')
      return void answer(
        response,
        200,
        {},
        {
          _id: '0',
          id: api[2],
          sha: commit,
          private: repository!.private === true,
          gated: false,
          downloads: 1,
          likes: 0,
          lastModified: '2026-01-01T00:00:00.000Z',
          siblings: Object.keys(files).map((rfilename) => ({ rfilename })),
        },
      );
    if (api) return void answerTree(url, files, response, request.headers.host!, state.hashless);
    const path = decodeURIComponent(file![4]!);
    const content = files[path];
    if (content === undefined)
      return void answer(
        response,
        404,
        { 'x-error-code': 'EntryNotFound', 'x-error-message': 'Entry not found', 'x-repo-commit': commit },
        'Entry not found',
      );
    const bytes = Buffer.from(content);
    if (!isLarge(path, bytes))
      return void send(request, response, bytes, { etag: `"${gitHash(bytes)}"`, 'x-repo-commit': commit }, trouble);
    const hash = sha256(bytes);
    blobs.set(hash, bytes);
    const location = `http://127.0.0.1:${portOf(cdn)}/${hash}?signature=secret`;
    answer(
      response,
      302,
      { location, 'x-linked-etag': `"${hash}"`, 'x-linked-size': String(bytes.length), 'x-repo-commit': commit, etag: `"${hash}"` },
      '',
    );
  });

  const refusal = (
    name: string | undefined,
    repository: Repository | undefined,
    authorization: string | undefined,
  ): [number, Record<string, string>, unknown] | undefined => {
    const token = authorization?.replace(/^Bearer /, '');
    if (token !== undefined && !tokens.has(token))
      return [
        401,
        { 'x-error-message': 'Invalid credentials in Authorization header' },
        { error: 'Invalid credentials in Authorization header' },
      ];
    const { mayRead: readable = [], mayWrite = [] } = token === undefined ? {} : tokens.get(token)!;
    const mayRead = [...readable, ...mayWrite].some((one) => name === one || name?.startsWith(`${one}/`));
    if (!repository || (repository.private && !mayRead))
      return [
        token === undefined ? 401 : 404,
        { 'x-error-code': 'RepoNotFound', 'x-error-message': 'Repository not found' },
        { error: 'Repository not found' },
      ];
    if (repository.gated && !mayRead)
      return [
        token === undefined ? 401 : 403,
        { 'x-error-code': 'GatedRepo', 'x-error-message': 'Access to this model is restricted' },
        { error: 'Access to this model is restricted' },
      ];
    return undefined;
  };

  await Promise.all([hub, cdn].map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))));
  const stop = () => {
    for (const server of [hub, cdn]) {
      server.closeAllConnections();
      server.close();
    }
  };
  onTestFinished(stop);
  return Object.assign(state, {
    url: urlOf(hub),
    requests,
    tokens,
    repositories,
    stop,
    trouble: (trouble: Trouble) => void troubles.push({ times: 1, ...trouble }),
    /** Creates a repository with one or more commits on main. Returns the id of the commit. */
    publish(name: string, files: RepositoryFiles, { ref = 'main', ...more }: Partial<Repository> & { ref?: string } = {}): string {
      const repository = repositories.get(name) ?? { refs: {}, commits: {} };
      repositories.set(name, Object.assign(repository, more));
      const commit = gitHash(
        Buffer.from(JSON.stringify([name, ref, Object.entries(files).map(([path, content]) => [path, sha256(Buffer.from(content))])])),
      );
      repository.commits[commit] = files;
      repository.refs[ref] = commit;
      return commit;
    },
  });
}

/** In pages of two, so that a client must follow the pages. */
function answerTree(url: URL, files: RepositoryFiles, response: ServerResponse, host: string, hashless: boolean): void {
  const all: unknown[] = [
    ...new Set(
      Object.keys(files).flatMap((path) =>
        path
          .split('/')
          .slice(0, -1)
          .map((_, i, parts) => parts.slice(0, i + 1).join('/')),
      ),
    ),
  ].map((path) => ({ type: 'directory', oid: gitHash(Buffer.from(path)), size: 0, path }));
  for (const [path, content] of Object.entries(files)) {
    const bytes = Buffer.from(content);
    if (hashless) all.push({ type: 'file', size: bytes.length, path });
    else
      all.push(
        isLarge(path, bytes)
          ? {
              type: 'file',
              oid: gitHash(Buffer.from('pointer')),
              size: bytes.length,
              lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 },
              path,
            }
          : { type: 'file', oid: gitHash(bytes), size: bytes.length, path },
      );
  }
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const next = new URL(url.pathname + url.search, `http://${host}`);
  next.searchParams.set('cursor', String(from + 2));
  const headers: Record<string, string> = from + 2 < all.length ? { link: `<${next.href}>; rel="next"` } : {};
  answer(response, 200, headers, all.slice(from, from + 2));
}

/** As in the hub's .gitattributes. A storage has no empty files. */
export function isLarge(path: string, content?: Uint8Array): boolean {
  return content?.length !== 0 && /\.(safetensors|bin|parquet|h5|onnx|gz)$/.test(path);
}

export function answer(response: ServerResponse, status: number, headers: Record<string, string>, body: unknown): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { ...(typeof body === 'string' ? {} : { 'content-type': 'application/json; charset=utf-8' }), ...headers });
  response.end(text);
}

/** Sends a file, or the requested range of it. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  headers: Record<string, string>,
  trouble?: Trouble,
): void {
  if (trouble?.status !== undefined) return void answer(response, trouble.status, trouble.headers ?? {}, '');
  const whole = trouble?.spoil ? trouble.spoil(content) : content;
  const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (from > 0 && from >= whole.length) return void answer(response, 416, { 'content-range': `bytes */${whole.length}` }, '');
  const bytes = whole.subarray(from);
  response.writeHead(request.headers.range ? 206 : 200, {
    'content-length': String(bytes.length),
    'accept-ranges': 'bytes',
    ...(request.headers.range ? { 'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` } : {}),
    ...headers,
  });
  if (request.method === 'HEAD') response.end();
  else if (trouble?.stall !== undefined) response.write(bytes.subarray(0, trouble.stall));
  // A client loses what it has not read when the connection closes, and on a busy machine it reads late.
  else if (trouble?.cut !== undefined) response.write(bytes.subarray(0, trouble.cut), () => setTimeout(() => response.destroy(), 250));
  else response.end(bytes);
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function gitHash(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}
