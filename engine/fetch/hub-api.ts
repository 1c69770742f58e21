/** The API of a Hugging Face hub or of a mirror: requests and the meaning of responses. */

import { type HubAddress, isSafePath } from '../contract/address.ts';
import type { HttpRequest } from '../contract/http.ts';
import { hubToken } from '../contract/hub-account.ts';
import { hubEndpoint, StepError, sendRequest } from '../contract/step.ts';
import { repositoryOf } from './choose-files.ts';
import type { FileHash } from './download.ts';

/** A file of a commit. */
export interface FileFacts {
  size: number;
  /** Hash of the file. If a mirror does not provide it, the server's ETag is the name of the blob. */
  hash?: FileHash;
}

/** A file as the hub lists it. */
export interface TreeEntry {
  size: number;
  blob_id: string;
  lfs_sha256?: string;
  lfs_size?: number;
  xet_hash?: string;
}

export class HubRefusal extends StepError {
  constructor(
    readonly status: number,
    readonly code: string | undefined,
    message: string,
    hint: string,
  ) {
    super(message, hint);
  }
}

type HubRequestOptions = Pick<HttpRequest, 'signal' | 'failFast' | 'log'>;

export class HubApi {
  readonly #endpoint = hubEndpoint();
  #token: string | undefined;

  /** Resolves a branch, tag or abbreviated commit to a commit. */
  async commitOf(address: HubAddress, revision: string, options: HubRequestOptions): Promise<string> {
    const { modelInfo, datasetInfo } = await import('@huggingface/hub');
    const fetch = this.#fetch(address, revision, options);
    const parameters = { name: address.name, revision, hubUrl: this.#endpoint, fetch, additionalFields: ['sha' as const] };
    try {
      const { sha } = await this.#parsed(() => (address.type === 'model' ? modelInfo(parameters) : datasetInfo(parameters)));
      if (isCommit(sha)) return sha;
    } catch (error) {
      // A mirror may serve only files.
      if (!(error instanceof HubRefusal) || error.status !== 404 || error.code !== undefined) throw error;
      const commit = await this.#commitOfFiles(address, revision, options);
      if (commit === undefined) throw error;
      return commit;
    }
    throw new StepError(`${this.#endpoint} did not report the commit of ${revision} of ${address.name}`, IS_IT_A_HUB);
  }

  async filesOf(address: HubAddress, commit: string, options: HubRequestOptions): Promise<Record<string, TreeEntry>> {
    const { listFiles } = await import('@huggingface/hub');
    const { type, name } = address;
    const fetch = this.#fetch(address, commit, options);
    const parameters = { repo: { type, name }, recursive: true, revision: commit, hubUrl: this.#endpoint, fetch };
    const files: Record<string, TreeEntry> = Object.create(null);
    await this.#parsed(async () => {
      for await (const { type, path, size, oid = '', lfs, xetHash } of listFiles(parameters)) {
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

  /** The hash from the server's headers, for a file whose hash the listing does not have. */
  async factsOf(
    address: HubAddress,
    commit: string,
    name: string,
    listed: FileFacts,
    options: HubRequestOptions,
  ): Promise<FileFacts & { blob: string }> {
    const response = await this.#head(address, commit, name, options);
    if (response.status >= 400) throw await this.refused(response, address, commit, name);
    const etag = (response.headers.get('x-linked-etag') ?? response.headers.get('etag') ?? '').replace(/^W\/|"/g, '');
    const size = response.headers.get('x-linked-size') ?? (response.ok ? response.headers.get('content-length') : null);
    if (!/^[\w.-]+$/.test(etag))
      throw new StepError(`${this.#endpoint} sends no ETag for ${name}, so the download could not be verified`, IS_IT_A_HUB);
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

  authorization(): string | undefined {
    this.#token ??= hubToken();
    return this.#token && `Bearer ${this.#token}`;
  }

  async refused(response: Response, address: HubAddress, revision: string, name?: string): Promise<HubRefusal> {
    await response.body?.cancel();
    const { status, headers } = response;
    const code = headers.get('x-error-code') ?? undefined;
    const serverMessage = headers.get('x-error-message');
    const said = serverMessage ? `: ${serverMessage}` : '';
    const { host } = new URL(this.#endpoint);
    const where = repositoryOf(address);
    const page = `${this.#endpoint}/${address.type === 'dataset' ? 'datasets/' : ''}${address.name}`;
    const authorized = this.authorization() !== undefined;
    const mayRead = `whether the account of your token may read ${page}`;
    const refused = (message: string, hint: string) => new HubRefusal(status, code, message, hint);

    if (code === 'GatedRepo')
      return refused(
        `${where} is gated: you must accept its terms`,
        authorized
          ? `Accept the terms at ${page} with the account of your token.`
          : `Accept the terms at ${page} and set HF_TOKEN (${this.#endpoint}/settings/tokens).`,
      );
    if (code === 'EntryNotFound' || (status === 404 && name !== undefined && code === undefined))
      return refused(`there is no ${name ?? 'such file'} in ${where}`, `Its files: ${page}/tree/${encodeURIComponent(revision)}`);
    if (code === 'RevisionNotFound')
      return refused(`${address.name} has no revision ${revision}`, `Its branches and tags: ${page}/tree/main`);
    if (status === 401 && authorized && code !== 'RepoNotFound')
      return refused(`${host} rejected the token`, 'Set HF_TOKEN to a valid token, or unset it. Public repositories need no token.');
    if (code === 'RepoNotFound' || status === 401 || status === 404)
      return refused(
        `there is no ${address.type === 'dataset' ? 'dataset' : 'model'} ${address.name} at ${host}, or it is private or gated`,
        authorized
          ? `Check the name, and ${mayRead}.`
          : `Check the name. If it is correct, set HF_TOKEN, and accept the terms at ${page} if there are any.`,
      );
    if (status === 403)
      return refused(
        `${host} denied access to ${where}${said}`,
        authorized ? `Check ${mayRead}.` : `Accept the terms at ${page}, if there are any, and set HF_TOKEN.`,
      );
    if (status === 429)
      return refused(
        `${host} still answers 429, too many requests, after several retries`,
        `Run again later.${authorized ? '' : ' With HF_TOKEN, the limit is higher.'}`,
      );
    if (status >= 500)
      return refused(`${host} still answers ${status} after several retries`, 'The server has a problem. Run again later.');
    return refused(`${host} answers ${status}${said}`, `The request was ${response.url || page}`);
  }

  async #commitOfFiles(address: HubAddress, revision: string, options: HubRequestOptions): Promise<string | undefined> {
    for (const name of ['config.json', 'README.md', '.gitattributes', ...(isSafePath(address.path) ? [address.path] : [])]) {
      const commit = (await this.#head(address, revision, name, options)).headers.get('x-repo-commit');
      if (isCommit(commit)) return commit;
    }
    return undefined;
  }

  /** For a large file, the first response has all headers and redirects to another host. */
  async #head(address: HubAddress, revision: string, name: string, options: HubRequestOptions): Promise<Response> {
    return sendRequest(this.fileUrl(address, revision, name), {
      ...options,
      method: 'HEAD',
      headers: { 'accept-encoding': 'identity' },
      authorization: this.authorization(),
      acceptRedirect: ({ headers }) => headers.has('x-linked-etag') || headers.has('x-repo-commit'),
    });
  }

  /** The fetch function for `@huggingface/hub`. It adds the token itself, because the library accepts only tokens that begin with hf_. */
  #fetch(address: HubAddress, revision: string, options: HubRequestOptions): typeof fetch {
    return async (url, init) => {
      const authorization = new URL(String(url)).origin === new URL(this.#endpoint).origin ? this.authorization() : undefined;
      const response = await sendRequest(String(url), { ...options, headers: init?.headers as Record<string, string>, authorization });
      if (!response.ok) throw await this.refused(response, address, revision);
      return response;
    };
  }

  /** A response that cannot come from a hub, such as the login page of a proxy, is not a bug in tunesmith. */
  async #parsed<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof TypeError)
        throw new StepError(`the response of ${this.#endpoint} is not from a hub: ${error.message}`, IS_IT_A_HUB);
      throw error;
    }
  }
}

const IS_IT_A_HUB = 'Check that HF_ENDPOINT is the address of a hub, and that no proxy asks for a login.';

/** The kind of a hash by its number of digits. */
const HASHES: Record<number, 'git' | 'sha256'> = { 40: 'git', 64: 'sha256' };

function isCommit(word: unknown): word is string {
  return typeof word === 'string' && /^\w+$/.test(word);
}
