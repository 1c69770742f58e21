/** What is asked of a Hugging Face hub, or of a mirror of it, and what its answers mean. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { StepError } from '../step.ts';
import { type HubAddress, isSafePath } from './address.ts';
import { repositoryOf } from './choose.ts';
import { type Asked, ask } from './http.ts';
import type { FileFacts, TreeEntry } from './hub-cache.ts';

/** The hub's answer was no. */
export class Refused extends StepError {
  constructor(
    readonly status: number,
    /** The hub's own word for it. */
    readonly code: string | undefined,
    message: string,
    hint: string,
  ) {
    super(message, hint);
  }
}

/** How a hub is asked, beside what it is asked for. */
type Manner = Pick<Asked, 'signal' | 'hasty' | 'say'>;

export class HubApi {
  readonly #endpoint: string;
  #token: Promise<string | undefined> | undefined;

  constructor() {
    const endpoint = process.env.HF_ENDPOINT || 'https://huggingface.co';
    if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint))
      throw new StepError(`HF_ENDPOINT is no URL: ${endpoint}`, 'For example https://huggingface.co, which it is when it is not set.');
    this.#endpoint = endpoint.replace(/\/+$/, '');
  }

  /** The commit that a branch, tag or the beginning of a commit means. */
  async commitOf(address: HubAddress, revision: string, manner: Manner): Promise<string> {
    const { modelInfo, datasetInfo } = await import('@huggingface/hub');
    const fetch = this.#fetch(address, revision, manner);
    const asked = { name: address.name, revision, hubUrl: this.#endpoint, fetch, additionalFields: ['sha' as const] };
    try {
      const { sha } = await this.#understood(() => (address.type === 'model' ? modelInfo(asked) : datasetInfo(asked)));
      if (isCommit(sha)) return sha;
    } catch (error) {
      // A mirror may know files alone.
      if (!(error instanceof Refused) || error.status !== 404 || error.code !== undefined) throw error;
      const commit = await this.#commitOfFiles(address, revision, manner);
      if (commit === undefined) throw error;
      return commit;
    }
    throw new StepError(`${this.#endpoint} does not say what commit ${revision} of ${address.name} is`, IS_IT_A_HUB);
  }

  /** All files of a commit. */
  async filesOf(address: HubAddress, commit: string, manner: Manner): Promise<Record<string, TreeEntry>> {
    const { listFiles } = await import('@huggingface/hub');
    const { type, name } = address;
    const fetch = this.#fetch(address, commit, manner);
    const asked = { repo: { type, name }, recursive: true, revision: commit, hubUrl: this.#endpoint, fetch };
    const files: Record<string, TreeEntry> = Object.create(null);
    await this.#understood(async () => {
      for await (const { type, path, size, oid = '', lfs, xetHash } of listFiles(asked)) {
        if (type !== 'file') continue;
        files[path] = {
          size,
          blob_id: oid,
          ...(lfs ? { lfs_sha256: lfs.oid, lfs_size: lfs.size } : {}),
          ...(xetHash ? { xet_hash: xetHash } : {}),
        };
      }
    });
    return files;
  }

  /** Of a file whose hash the listing does not have: what the server says before it hands the file out. */
  async factsOf(
    address: HubAddress,
    commit: string,
    name: string,
    listed: FileFacts,
    manner: Manner,
  ): Promise<FileFacts & { blob: string }> {
    const response = await this.#head(address, commit, name, manner);
    if (response.status >= 400) throw await this.refused(response, address, commit, name);
    const etag = (response.headers.get('x-linked-etag') ?? response.headers.get('etag') ?? '').replace(/^W\/|"/g, '');
    const size = response.headers.get('x-linked-size') ?? (response.ok ? response.headers.get('content-length') : null);
    if (!/^[\w.-]+$/.test(etag))
      throw new StepError(`${this.#endpoint} has no ETag for ${name}: what came could not be checked`, IS_IT_A_HUB);
    const kind = HASHES[etag.length];
    return {
      size: size === null ? listed.size : Number(size),
      hash: kind && /^[0-9a-f]+$/.test(etag) ? { kind, hex: etag } : undefined,
      blob: etag,
    };
  }

  fileUrl({ type, name }: HubAddress, revision: string, path: string): string {
    const prefix = type === 'dataset' ? 'datasets/' : '';
    return `${this.#endpoint}/${prefix}${name}/resolve/${encodeURIComponent(revision)}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  async authorization(): Promise<string | undefined> {
    this.#token ??= readToken();
    const token = await this.#token;
    return token && `Bearer ${token}`;
  }

  /** `name`: of a file. */
  async refused(response: Response, address: HubAddress, revision: string, name?: string): Promise<Refused> {
    await response.body?.cancel();
    const { status, headers } = response;
    const code = headers.get('x-error-code') ?? undefined;
    const said = headers.get('x-error-message');
    const { host } = new URL(this.#endpoint);
    const where = repositoryOf(address);
    const page = `${this.#endpoint}/${address.type === 'dataset' ? 'datasets/' : ''}${address.name}`;
    const authorized = (await this.authorization()) !== undefined;
    const refused = (message: string, hint: string) => new Refused(status, code, message, hint);

    if (code === 'GatedRepo')
      return refused(
        `${where} is gated: its authors want their terms accepted`,
        authorized
          ? `Accept its terms at ${page}, with the account that your token belongs to.`
          : `Accept its terms at ${page} and set HF_TOKEN (${this.#endpoint}/settings/tokens).`,
      );
    if (code === 'EntryNotFound' || (status === 404 && name !== undefined && code === undefined))
      return refused(`there is no ${name ?? 'such file'} in ${where}`, `Its files: ${page}/tree/${encodeURIComponent(revision)}`);
    if (code === 'RevisionNotFound')
      return refused(`${address.name} has no revision ${revision}`, `Its branches and tags: ${page}/tree/main`);
    if (status === 401 && authorized && code !== 'RepoNotFound')
      return refused(
        `${host} does not accept the token`,
        'Set HF_TOKEN to one that is still good, or unset it: public repositories need none.',
      );
    if (code === 'RepoNotFound' || status === 401 || status === 404)
      return refused(
        `there is no ${address.type === 'dataset' ? 'data set' : 'model'} ${address.name} at ${host}, or it is private or gated`,
        authorized
          ? `Check its name, and whether the account of your token may read ${page}.`
          : `Check its name. If it is right, set HF_TOKEN, and accept its terms at ${page} if it has any.`,
      );
    if (status === 403)
      return refused(
        `${host} does not let you read ${where}${said ? `: ${said}` : ''}`,
        authorized ? `May the account of your token read ${page}?` : `Accept its terms at ${page}, if it has any, and set HF_TOKEN.`,
      );
    if (status === 429)
      return refused(
        `${host} answers 429, too many requests, also after waiting`,
        `Run again later.${authorized ? '' : ' With HF_TOKEN set more are allowed.'}`,
      );
    if (status >= 500) return refused(`${host} answers ${status}, also after waiting`, 'Its own trouble: run again later.');
    return refused(`${host} answers ${status}${said ? `: ${said}` : ''}`, `It was asked for ${response.url || page}`);
  }

  async #commitOfFiles(address: HubAddress, revision: string, manner: Manner): Promise<string | undefined> {
    for (const name of ['config.json', 'README.md', '.gitattributes', ...(isSafePath(address.path) ? [address.path] : [])]) {
      const commit = (await this.#head(address, revision, name, manner)).headers.get('x-repo-commit');
      if (isCommit(commit)) return commit;
    }
    return undefined;
  }

  /** Of a large file the first answer tells all, and leads to another host. */
  async #head(address: HubAddress, revision: string, name: string, manner: Manner): Promise<Response> {
    return ask(this.fileUrl(address, revision, name), {
      ...manner,
      method: 'HEAD',
      headers: { 'accept-encoding': 'identity' },
      authorization: await this.authorization(),
      until: ({ headers }) => headers.has('x-linked-etag') || headers.has('x-repo-commit'),
    });
  }

  /** What `@huggingface/hub` asks with. It takes no token but its own, which begins with hf_; those of mirrors need not. */
  #fetch(address: HubAddress, revision: string, manner: Manner): typeof fetch {
    return async (url, init) => {
      const authorization = new URL(String(url)).origin === new URL(this.#endpoint).origin ? await this.authorization() : undefined;
      const response = await ask(String(url), { ...manner, headers: init?.headers as Record<string, string>, authorization });
      if (!response.ok) throw await this.refused(response, address, revision);
      return response;
    };
  }

  /** An answer that is none of a hub, such as the page of a proxy that wants a login, is no bug of ours. */
  async #understood<T>(asking: () => Promise<T>): Promise<T> {
    try {
      return await asking();
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof TypeError)
        throw new StepError(`${this.#endpoint} answers what no hub answers: ${error.message}`, IS_IT_A_HUB);
      throw error;
    }
  }
}

const IS_IT_A_HUB = 'Is HF_ENDPOINT the address of a hub, and no proxy in between that wants something of you?';

/** By the number of its digits. */
const HASHES: Record<number, 'git' | 'sha256'> = { 40: 'git', 64: 'sha256' };

function isCommit(word: unknown): word is string {
  return typeof word === 'string' && /^\w+$/.test(word);
}

/** As Hugging Face's libraries find it. */
async function readToken(): Promise<string | undefined> {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const file = (HF_TOKEN_PATH ?? join(home, 'token')).replace(/^~(?=\/|$)/, homedir());
  const token = HF_TOKEN || HUGGING_FACE_HUB_TOKEN || (await readFile(file, 'utf8').catch(() => ''));
  return token.replace(/\s/g, '') || undefined;
}
