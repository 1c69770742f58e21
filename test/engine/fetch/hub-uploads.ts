/**
 * The part of the hub's HTTP API that writes: repositories, branches, tags, commits, and large files by Git LFS. It is strict where
 * the real one is: a storage needs a length, a file must have its hash, an upload must be verified, a commit may name its parent.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'yaml';
import { answer, gitHash, isLarge, type Repository, type RepositoryFiles, sha256, type Trouble } from './hub.ts';

export interface HubState {
  repositories: Map<string, Repository>;
  /** Stored large files, by SHA-256. */
  blobs: Map<string, Buffer>;
  tokens: Map<string, { mayRead: string[]; mayWrite?: string[] }>;
  /** The size of the parts of large files; undefined for uploads in one request. */
  partSize?: number;
  /** The addresses of the two servers. */
  hubUrl(): string;
  cdnUrl(): string;
}

type Body = Record<string, any>;

export class HubUploads {
  /** Large files that the storage has, but that were not verified yet. */
  readonly #unverified = new Map<string, Buffer>();
  readonly #parts = new Map<string, Buffer>();
  #uploads = 0;

  constructor(private readonly state: HubState) {}

  /** Answers a request of the hub. @returns false if it only reads files */
  async handle(request: IncomingMessage, response: ServerResponse, trouble: Trouble | undefined): Promise<boolean> {
    const { method } = request;
    const { pathname } = new URL(request.url!, 'http://hub');
    const batch = /^\/(.+)\.git\/info\/lfs\/objects\/(batch|verify)$/.exec(pathname);
    const api = /^\/api\/models\/([^/]+\/[^/]+)(?:\/(refs|preupload|commit|branch|tag)(?:\/(.+))?)?$/.exec(pathname);
    const other = pathname === '/api/repos/create' || pathname === '/api/validate-yaml';
    if (!batch && !api && !other) return false;
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    const account = token === undefined ? undefined : this.state.tokens.get(token);
    const body = method === 'GET' ? '' : (await received(request)).toString();
    if (!account) {
      answer(
        response,
        401,
        { 'x-error-message': 'Invalid credentials in Authorization header' },
        { error: 'Invalid credentials in Authorization header' },
      );
      return true;
    }
    const mayWrite = (name: string) => (account.mayWrite ?? []).some((one) => one === name || name.startsWith(`${one}/`));
    if (other) {
      if (pathname === '/api/validate-yaml') this.#validate(JSON.parse(body), response);
      else this.#createRepository(JSON.parse(body), mayWrite, response);
      return true;
    }
    const name = (batch ?? api)![1]!;
    const repository = this.state.repositories.get(name);
    if (!repository || (repository.private && !mayWrite(name) && !account.mayRead.includes(name))) {
      answer(
        response,
        404,
        { 'x-error-code': 'RepoNotFound', 'x-error-message': 'Repository not found' },
        { error: 'Repository not found' },
      );
      return true;
    }
    if (method !== 'GET' && !mayWrite(name)) {
      answer(response, 403, { 'x-error-message': 'Forbidden: pass a token with the write role' }, { error: 'Forbidden' });
      return true;
    }
    if (batch?.[2] === 'batch') this.#batch(name, JSON.parse(body), response);
    else if (batch) this.#verify(JSON.parse(body), response);
    else if (api![2] === undefined)
      answer(response, 200, {}, { id: name, modelId: name, sha: repository.refs.main, private: repository.private === true, tags: [] });
    else if (api![2] === 'refs') answer(response, 200, {}, refsOf(repository));
    else this.#write(repository, name, api![2], method!, decodeURIComponent(api![3]!), body, response, trouble);
    return true;
  }

  #write(
    repository: Repository,
    name: string,
    what: string,
    method: string,
    at: string,
    body: string,
    response: ServerResponse,
    trouble?: Trouble,
  ): void {
    if (what === 'preupload') {
      const existing = repository.commits[repository.refs[at] ?? ''] ?? {};
      const files = JSON.parse(body).files.map(({ path }: Body) => {
        const bytes = Object.hasOwn(existing, path) ? Buffer.from(existing[path]!) : undefined;
        const oid = bytes && (isLarge(path, bytes) ? sha256(bytes) : gitHash(bytes));
        return { path, uploadMode: isLarge(path) ? 'lfs' : 'regular', shouldIgnore: false, oid: oid ?? null };
      });
      return void answer(response, 200, {}, { files });
    }
    if (what === 'commit') return void this.#commit(repository, name, at, body, response, trouble);
    repository.tags ??= new Set();
    const { tags } = repository;
    const given = body === '' ? {} : (JSON.parse(body) as Body);
    const added = what === 'tag' && method === 'POST' ? given.tag : at;
    if (method === 'DELETE') {
      delete repository.refs[added];
      tags.delete(added);
      return void answer(response, 200, {}, '');
    }
    if (repository.refs[added] !== undefined) return void answer(response, 409, {}, { error: `Reference ${added} already exists` });
    const from = what === 'tag' ? at : (given.startingPoint ?? 'main');
    const commit = repository.refs[from] ?? (repository.commits[from] ? from : undefined);
    if (commit === undefined) return void answer(response, 404, { 'x-error-code': 'RevisionNotFound' }, { error: 'Invalid rev id' });
    repository.refs[added] = commit;
    if (what === 'tag') tags.add(added);
    answer(response, 200, {}, {});
  }

  #createRepository({ name, organization, type, visibility }: Body, mayWrite: (name: string) => boolean, response: ServerResponse): void {
    const id = `${organization}/${name}`;
    if (!mayWrite(id))
      return void answer(response, 403, {}, { error: `You don't have the rights to create a model under the namespace "${organization}"` });
    if (this.state.repositories.has(id)) return void answer(response, 409, {}, { error: 'You already created this model repo' });
    if (type !== undefined && type !== 'model') return void answer(response, 400, {}, { error: 'only models' });
    const files = { '.gitattributes': '*.safetensors filter=lfs diff=lfs merge=lfs -text\n' };
    const commit = idOf(id, undefined, files, 'initial commit');
    this.state.repositories.set(id, { refs: { main: commit }, commits: { [commit]: files }, private: visibility === 'private' });
    answer(response, 200, {}, { url: `${this.state.hubUrl()}/${id}`, name: id, id });
  }

  #validate({ content }: Body, response: ServerResponse): void {
    const front = /^---\n([\s\S]*?)\n---/.exec(content)?.[1];
    if (front === undefined)
      return void answer(response, 200, {}, { errors: [], warnings: [{ message: 'empty or missing yaml metadata in repo card' }] });
    const { license } = parse(front);
    if (license === undefined || /^(apache-2\.0|mit|cc-by-4\.0|other)$/.test(license))
      return void answer(response, 200, {}, { errors: [], warnings: [] });
    answer(response, 400, {}, { errors: [{ message: '"license" must be one of [apache-2.0, mit, …]' }], warnings: [] });
  }

  #batch(name: string, { operation, objects, transfers }: Body, response: ServerResponse): void {
    if (operation !== 'upload') return void answer(response, 422, {}, { error: 'only uploads' });
    const { partSize } = this.state;
    const multipart = partSize !== undefined && transfers.includes('multipart');
    const verify = { href: `${this.state.hubUrl()}/${name}.git/info/lfs/objects/verify` };
    const described = objects.map(({ oid, size }: Body) => {
      if (this.state.blobs.has(oid)) return { oid, size };
      const url = `${this.state.cdnUrl()}/${oid}`;
      if (!multipart || size <= partSize)
        return { oid, size, authenticated: true, actions: { upload: { href: `${url}?signature=secret` }, verify } };
      const upload = ++this.#uploads;
      const parts = Array.from({ length: Math.ceil(size / partSize) }, (_, i) => [
        String(i + 1).padStart(5, '0'),
        `${url}?upload=${upload}&part=${i + 1}&signature=secret`,
      ]);
      const header = { chunk_size: String(partSize), ...Object.fromEntries(parts) };
      return { oid, size, authenticated: true, actions: { upload: { href: `${url}?upload=${upload}&complete`, header }, verify } };
    });
    answer(
      response,
      200,
      { 'content-type': 'application/vnd.git-lfs+json' },
      { transfer: multipart ? 'multipart' : 'basic', objects: described },
    );
  }

  /** Takes bytes of a large file, as a storage with signed addresses does. */
  async store(
    request: IncomingMessage,
    response: ServerResponse,
    trouble: Trouble | undefined,
    count: (bytes: number) => void,
  ): Promise<void> {
    const url = new URL(request.url!, 'http://cdn');
    const oid = url.pathname.slice(1);
    if (trouble?.stall !== undefined) return;
    if (request.method === 'PUT' && request.headers['content-length'] === undefined)
      return void answer(response, 411, {}, 'MissingContentLength');
    let bytes = 0;
    const body = await received(request, (size) => {
      count(size);
      bytes += size;
      if (trouble?.cut === undefined || bytes < trouble.cut) return;
      response.destroy();
      throw new Error('cut');
    }).catch(() => undefined);
    if (body === undefined) return;
    if (trouble?.status !== undefined)
      return void answer(response, trouble.status, trouble.headers ?? {}, '<Error><Code>SlowDown</Code></Error>');
    const upload = url.searchParams.get('upload');
    if (request.method === 'PUT') {
      if (upload === null) return void this.#keep(oid, body, response);
      this.#parts.set(`${oid} ${upload} ${url.searchParams.get('part')}`, body);
      return void answer(response, 200, { etag: `"${sha256(body).slice(0, 32)}"` }, '');
    }
    const { parts } = JSON.parse(body.toString()) as { parts: { partNumber: number; etag: string }[] };
    const all = parts.map(({ partNumber }) => this.#parts.get(`${oid} ${upload} ${partNumber}`));
    const wrong = all.some((part, i) => !part || parts[i]!.etag !== `"${sha256(part).slice(0, 32)}"`);
    if (wrong) return void answer(response, 400, {}, 'InvalidPart');
    this.#keep(oid, Buffer.concat(all as Buffer[]), response);
  }

  #keep(oid: string, bytes: Buffer, response: ServerResponse): void {
    if (sha256(bytes) !== oid) return void answer(response, 400, {}, 'BadDigest');
    this.#unverified.set(oid, bytes);
    answer(response, 200, {}, '');
  }

  #verify({ oid, size }: Body, response: ServerResponse): void {
    const bytes = this.#unverified.get(oid);
    if (bytes?.length !== size) return void answer(response, 404, {}, { message: 'not found' });
    this.state.blobs.set(oid, bytes!);
    answer(response, 200, {}, {});
  }

  #commit(
    repository: Repository,
    name: string,
    branch: string,
    body: string,
    response: ServerResponse,
    trouble: Trouble | undefined,
  ): void {
    const lines = body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { key: string; value: Body });
    const [{ value: header }, ...changes] = lines as [{ value: Body }, ...typeof lines];
    const head = repository.refs[branch];
    if (head === undefined || repository.tags?.has(branch))
      return void answer(response, 404, { 'x-error-code': 'RevisionNotFound' }, { error: 'Invalid rev id' });
    if (header.parentCommit && header.parentCommit !== head)
      return void answer(response, 412, {}, { error: 'A commit has happened since. Please refresh and try again.' });
    const files: RepositoryFiles = { ...repository.commits[head] };
    for (const { key, value } of changes) {
      if (key === 'file') files[value.path] = Buffer.from(value.content, value.encoding);
      else if (key === 'deletedFile') delete files[value.path];
      else if (this.state.blobs.has(value.oid)) files[value.path] = this.state.blobs.get(value.oid)!;
      else return void answer(response, 400, {}, { error: `the large file ${value.path} was not uploaded` });
    }
    const commit = idOf(name, head, files, header.summary);
    repository.commits[commit] = files;
    repository.refs[branch] = commit;
    repository.messages = { ...repository.messages, [commit]: header.summary };
    if (trouble?.lose) return void response.destroy();
    answer(
      response,
      200,
      {},
      { success: true, commitOid: commit, commitUrl: `${this.state.hubUrl()}/${name}/commit/${commit}`, hookOutput: '' },
    );
  }
}

function refsOf({ refs, tags = new Set() }: Repository): unknown {
  const all = Object.entries(refs).map(([name, targetCommit]) => ({
    name,
    ref: `refs/${tags.has(name) ? 'tags' : 'heads'}/${name}`,
    targetCommit,
  }));
  return { branches: all.filter(({ name }) => !tags.has(name)), tags: all.filter(({ name }) => tags.has(name)), converts: [] };
}

function idOf(name: string, parent: string | undefined, files: RepositoryFiles, message: string): string {
  const content = Object.entries(files).map(([path, content]) => [path, sha256(Buffer.from(content))]);
  return gitHash(Buffer.from(JSON.stringify([name, parent, content, message])));
}

async function received(request: IncomingMessage, count: (bytes: number) => void = () => {}): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk);
    count(chunk.length);
  }
  return Buffer.concat(chunks);
}
