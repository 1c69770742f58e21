/**
 * A model repository on a hub: the requests that a push needs, and errors with what to do. `@huggingface/hub` is not used for
 * them: it has no tags, sends unchanged files again, does not verify what a storage received, and refuses tokens of other hubs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { hubAccount, StepError, sendRequest, Unreachable } from '../../../engine/contract/step.ts';

/** What a push reports while it works. */
export interface PushProgress {
  signal: AbortSignal;
  log(message: string): void;
  onBytes(done: number, total: number): void;
}

/** A file of a commit. */
export interface RemoteFile {
  /** SHA-1 of git. */
  oid: string;
  /** SHA-256 of a large file. */
  lfs?: string;
}

interface Refs {
  branches: Map<string, string>;
  tags: Set<string>;
}

interface ApiRequest {
  method?: 'GET' | 'POST';
  body?: string;
  type?: string;
  accept?: string;
}

export class PushRefusal extends StepError {
  constructor(
    readonly status: number,
    readonly code: string | undefined,
    /** The server's own words, `: no space`. */
    readonly said: string,
    message: string,
    hint: string,
  ) {
    super(message, hint);
  }
}

export const RESUME = 'Check the network, then push again: large files that have arrived are not sent again.';

export class HubRepository {
  readonly endpoint: string;
  readonly #authorization: string;

  constructor(
    /** `owner/name`. */
    private name: string,
    private readonly progress: PushProgress,
  ) {
    const { endpoint, token } = hubAccount();
    this.endpoint = endpoint;
    this.#authorization = `Bearer ${token}`;
  }

  get id(): string {
    return this.name;
  }

  get page(): string {
    return `${this.endpoint}/${this.name}`;
  }

  /** The repository as it is; undefined if there is none, or the token may not see it. */
  async find(): Promise<{ isPrivate: boolean } | undefined> {
    try {
      const { id, private: isPrivate } = await this.#json(`api/models/${this.name}`);
      if (typeof id === 'string' && id !== this.name && /^[^/]+\/[^/]+$/.test(id)) {
        this.progress.log(`${this.name} was renamed to ${id}`);
        this.name = id;
      }
      return { isPrivate: isPrivate === true };
    } catch (error) {
      if (error instanceof PushRefusal && isMissing(error)) return undefined;
      throw error;
    }
  }

  /** @returns false if another process was faster */
  async create(isPrivate: boolean): Promise<boolean> {
    const [organization, name] = this.name.split('/');
    const body = JSON.stringify({ type: 'model', name, organization, ...(isPrivate ? { visibility: 'private' } : {}) });
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#json('api/repos/create', { method: 'POST', body });
        return true;
      } catch (error) {
        if (!(error instanceof PushRefusal) || error.status !== 409) throw error;
        // The hub creates only one repository of an account at a time.
        if (!/another conflicting operation/.test(error.message) || attempt === 5) return false;
        await sleep(1000 * attempt, undefined, { signal: this.progress.signal });
      }
    }
  }

  async refs(): Promise<Refs> {
    const { branches = [], tags = [] } = await this.#json(`api/models/${this.name}/refs`);
    return {
      branches: new Map(branches.map((one: RefEntry) => [one.name, one.targetCommit])),
      tags: new Set(tags.map((one: RefEntry) => one.name)),
    };
  }

  /** The commit of a branch or tag. */
  async commitOf(revision: string): Promise<string> {
    return String((await this.#json(`api/models/${this.name}/revision/${encodeURIComponent(revision)}`)).sha);
  }

  async createBranch(branch: string): Promise<void> {
    await this.#create('branch', branch, {});
  }

  /** @returns false if there is a tag of that name */
  async createTag(tag: string, commit: string): Promise<boolean> {
    return this.#create('tag', commit, { tag });
  }

  async #create(what: 'branch' | 'tag', at: string, body: Record<string, string>): Promise<boolean> {
    try {
      await this.request(`api/models/${this.name}/${what}/${encodeURIComponent(at)}`, { method: 'POST', body: JSON.stringify(body) });
      return true;
    } catch (error) {
      if (error instanceof PushRefusal && error.status === 409) return false;
      throw error;
    }
  }

  /** The files of a commit. */
  async files(commit: string): Promise<Map<string, RemoteFile>> {
    const files = new Map<string, RemoteFile>();
    let next: string | undefined = `api/models/${this.name}/tree/${commit}?recursive=true&expand=false`;
    while (next !== undefined) {
      const response: Response = await this.request(next);
      for (const { type, path, oid, lfs } of (await parsed(response, this.endpoint)) as unknown as TreeItem[])
        if (type === 'file') files.set(path, { oid, ...(lfs ? { lfs: lfs.oid } : {}) });
      const link: string | undefined = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
      // Its path only, so that the token does not go to another host.
      next = link && new URL(link, this.endpoint).href.replace(/^https?:\/\/[^/]+\/?/, '').replace(this.#basePath(), '');
    }
    return files;
  }

  /** For a hub below a path: `https://example.org/hub`. */
  #basePath(): string {
    const { pathname } = new URL(this.endpoint);
    return pathname === '/' ? '' : `${pathname.slice(1)}/`;
  }

  /** How the hub wants each file, by path: in the commit (`regular`), beforehand (`lfs`), or not at all (`ignored`). */
  async uploadModes(
    branch: string,
    files: { path: string; size: number; sample: string }[],
  ): Promise<Map<string, 'regular' | 'lfs' | 'ignored'>> {
    const modes = new Map<string, 'regular' | 'lfs' | 'ignored'>();
    for (let i = 0; i < files.length; i += 256) {
      const body = JSON.stringify({ files: files.slice(i, i + 256) });
      const answer = await this.#json(`api/models/${this.name}/preupload/${encodeURIComponent(branch)}`, { method: 'POST', body });
      for (const { path, uploadMode, shouldIgnore } of answer.files ?? [])
        modes.set(path, shouldIgnore === true ? 'ignored' : uploadMode === 'lfs' ? 'lfs' : 'regular');
    }
    return modes;
  }

  /** Refuses a model card whose metadata the hub would refuse. */
  async checkCard(content: string): Promise<void> {
    try {
      const body = JSON.stringify({ content, repoType: 'model' });
      const { warnings = [] } = await this.#json('api/validate-yaml', { method: 'POST', body });
      for (const { message } of warnings) this.progress.log(`the hub about README.md: ${message}`);
    } catch (error) {
      if (!(error instanceof PushRefusal)) throw error;
      if (error.status === 404 || error.status === 405) return; // a hub without this check
      if (error.status !== 400) throw error;
      throw new StepError(`the hub refuses the metadata of README.md${error.said}`, 'Correct the part between the lines `---`.');
    }
  }

  /** @returns the commit */
  async commit(branch: string, lines: unknown[]): Promise<string> {
    const { commitOid } = await this.#json(`api/models/${this.name}/commit/${encodeURIComponent(branch)}`, {
      method: 'POST',
      type: 'application/x-ndjson',
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    });
    if (typeof commitOid === 'string') return commitOid;
    throw notAHub(this.endpoint, 'it reported no commit');
  }

  async #json(path: string, request: ApiRequest = {}): Promise<Record<string, any>> {
    return parsed(await this.request(path, request), this.endpoint);
  }

  /** A request to the hub itself, with the token. @throws PushRefusal */
  async request(
    path: string,
    { method = 'GET', body, type = 'application/json', accept = 'application/json' }: ApiRequest = {},
  ): Promise<Response> {
    const response = await this.send(`${this.endpoint}/${path}`, {
      method,
      headers: { accept, ...(body === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body: () => body }),
    });
    if (!response.ok) throw await this.refused(response);
    return response;
  }

  /** A request to the hub or to its storage. Only the hub receives the token. */
  async send(url: string, request: Parameters<typeof sendRequest>[1]): Promise<Response> {
    const { signal, log } = this.progress;
    const own = new URL(url).origin === new URL(this.endpoint).origin;
    try {
      return await sendRequest(url, {
        ...request,
        ...(own ? { authorization: this.#authorization } : {}),
        patience: PATIENCE,
        signal,
        log,
      });
    } catch (error) {
      throw error instanceof Unreachable ? new StepError(error.message, RESUME) : error;
    }
  }

  async refused(response: Response): Promise<PushRefusal> {
    const { status, headers } = response;
    const code = headers.get('x-error-code') ?? undefined;
    const said = await reasonIn(response);
    const { host } = new URL(this.endpoint);
    const [owner] = this.name.split('/');
    const tokens = `${this.endpoint}/settings/tokens`;
    const refused = (message: string, hint: string) => new PushRefusal(status, code, said, message, hint);
    if (code === 'RepoNotFound')
      return refused(
        `there is no model ${this.name} at ${host}, or the account of your token may not see it`,
        'Check the name and the token.',
      );
    if (status === 401)
      return refused(
        `${host} rejected the token${said}`,
        `It may have expired. Make a new one that may write at ${tokens}, and set HF_TOKEN to it.`,
      );
    if (status === 403)
      return refused(
        `the account of your token may not write to ${this.name}${said}`,
        `Use a token with the permission to write (${tokens}) of an account that may write to the repositories of ${owner}.`,
      );
    if (status === 402 || status === 507 || status === 413)
      return refused(
        `${host} has no room for the files, HTTP status ${status}${said}`,
        'Free some space on the hub or raise its limit, then push again.',
      );
    if (status === 409)
      return refused(
        `${host} refuses: another request or an existing name is in the way${said}`,
        'Push again. If that does not help, choose another name.',
      );
    if (status === 412) return refused(`${this.name} was changed by somebody else during the push${said}`, 'Push again.');
    if (status === 429) return refused(`${host} still answers 429, too many requests, after several retries`, 'Push again later.');
    if (status >= 500)
      return refused(`${host} still answers ${status} after several retries${said}`, 'The server has a problem. Push again later.');
    if ((status === 404 || status === 405) && code === undefined)
      return refused(
        `${host} does not answer a request of the hub's API, HTTP status ${status}${said}`,
        'Check that HF_ENDPOINT is the address of a hub.',
      );
    return refused(`${host} answers ${status}${said}`, `The repository is ${this.page}`);
  }
}

/** A commit takes long, and so does the end of an upload: up to some megabytes are on their way then. */
const PATIENCE = 300_000;

interface RefEntry {
  name: string;
  targetCommit: string;
}

interface TreeItem {
  type: string;
  path: string;
  oid: string;
  lfs?: { oid: string };
}

/** A private repository looks to others as if it did not exist. */
const isMissing = ({ status, code }: PushRefusal): boolean => code === 'RepoNotFound' || (status === 404 && code === undefined);

/** The server's own words, without the rest of an answer, which may be a page. */
async function reasonIn(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  let said = response.headers.get('x-error-message') ?? '';
  try {
    const { error, errors } = JSON.parse(text);
    const all = Array.isArray(errors) ? errors.map((one) => one?.message).filter(Boolean) : [];
    if (all.length > 0) said = all.join('; ');
    else if (typeof error === 'string') said ||= error;
  } catch {
    // not JSON
  }
  return said === '' ? '' : `: ${said.slice(0, 500)}`;
}

/** A response that cannot come from a hub, such as the login page of a proxy. */
async function parsed(response: Response, endpoint: string): Promise<Record<string, any>> {
  try {
    const value = await response.json();
    if (typeof value === 'object' && value !== null) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw new StepError(`the connection to ${new URL(endpoint).host} broke`, RESUME);
  }
  throw notAHub(endpoint, 'it is no JSON');
}

const notAHub = (endpoint: string, why: string): StepError =>
  new StepError(
    `the response of ${endpoint} is not from a hub: ${why}`,
    'Check that HF_ENDPOINT is the address of a hub, and that no proxy asks for a login.',
  );
