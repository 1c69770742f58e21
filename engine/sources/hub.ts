/**
 * The Hugging Face hub: what commit a revision is, what files that has, and these files in the cache that Hugging Face's
 * own libraries share. `@huggingface/hub` asks and knows where the cache lies; what it does not do is done here: go on
 * after a cut, check hashes, lock, work offline, and complete what another library began.
 */
import { createHash } from 'node:crypto';
import { link, mkdir, readFile, realpath, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { StepError } from '../step.ts';
import { type HubAddress, isSafePath } from './address.ts';
import { choose, dataFiles, repositoryOf } from './choose.ts';
import { download, type FileHash } from './download.ts';
import { ask, Unreachable } from './http.ts';
import { type FileFacts, HubCache, type Tree, type TreeEntry, treeOf } from './hub-cache.ts';
import { locked } from './lock.ts';
import type { Shelf } from './shelf.ts';
import type { Source, Surroundings } from './sources.ts';
import { type Fetched, inParallel, type Work } from './work.ts';

export class Hub implements Source<HubAddress> {
  readonly #endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  #token: Promise<string | undefined> | undefined;

  constructor(
    private readonly shelf: Shelf,
    private readonly surroundings: Surroundings,
  ) {}

  /** The commit that the address means now; the one that it last meant, where the hub cannot be asked. */
  async pin(address: HubAddress): Promise<{ name: string; revision: string }> {
    const { type, path, revision } = address;
    const name = repositoryOf({ ...address, revision: undefined }) + (path === '' ? '' : `/${path}`);
    if (revision !== undefined || type === 'model' || path !== '')
      return { name, revision: await this.#commitOf(address, revision ?? 'main') };
    return { name, revision: await this.#dataOf(address) };
  }

  async fetch(address: HubAddress, commit: string, work: Work): Promise<Fetched[]> {
    const cache = await this.#cache(address);
    const tree = await this.#tree(address, commit);
    const { files, given } = choose([...tree.keys()], address);
    const odd = files.find((name) => !isSafePath(name));
    if (odd !== undefined) throw new StepError(`${repositoryOf(address)} has a file that would leave its folder: ${odd}`, 'Do not use it.');
    const missing: string[] = [];
    for (const name of files) {
      const state = await cache.stateOf(cache.pathOf(commit, name), tree.get(name)!);
      if (state === 'damaged') work.say(`${name} of ${repositoryOf(address)} is damaged in the cache: it is fetched again`);
      if (state !== 'sound') missing.push(name);
    }
    if (isOffline()) refuseMissing(missing, address, commit, cache);
    else {
      work.expect(
        missing.reduce((sum, name) => sum + tree.get(name)!.size, 0),
        missing.length,
      );
      await inParallel(missing, work.signal, (name, signal) =>
        this.#fetchFile(address, commit, name, tree.get(name)!, cache, { ...work, signal }),
      );
    }
    const root = repositoryOf({ ...address, revision: undefined });
    // Offline, what nobody computes with may be missing.
    const there = isOffline() ? files.filter((name) => !missing.includes(name)) : files;
    const place = await this.#view(there, address, commit, cache, work);
    return given.map((name) => ({ path: join(place, name), address: name === '' ? root : `${root}/${name}` }));
  }

  /**
   * A folder with these files and no others, whatever else a snapshot holds; and with files, not links into a cache, which
   * a copy of the folder would carry to where they lead nowhere. Hard links cost nothing.
   */
  async #view(files: string[], address: HubAddress, commit: string, cache: HubCache, work: Work): Promise<string> {
    const key = createHash('sha256').update(files.join('\n')).digest('hex').slice(0, 16);
    const name = `${address.type}s--${address.name.replace('/', '--')}@${commit.slice(0, 12)}`;
    return this.shelf.take(join('hub', name, key), work, async (folder) => {
      for (const file of files) {
        const [from, to] = [await realpath(cache.pathOf(commit, file)), join(folder, file)];
        await mkdir(dirname(to), { recursive: true });
        // On another disk there are no hard links.
        await link(from, to).catch(() => symlink(from, to));
      }
      return undefined;
    });
  }

  /** Of a data set as a whole: the commit of its own Parquet files, else of those that the hub has made of it. */
  async #dataOf(address: HubAddress): Promise<string> {
    const own = await this.#commitOf(address, 'main');
    if (dataFiles([...(await this.#tree(address, own)).keys()])[0]?.endsWith('.parquet')) return own;
    try {
      return await this.#commitOf(address, 'refs/convert/parquet');
    } catch (error) {
      const none = (error instanceof Refused && [401, 403, 404].includes(error.status)) || error instanceof Uncached;
      // Who took its own files when there was a network takes them now.
      const before = error instanceof Unreachable && (await (await this.#cache(address)).names(own)).length > 0;
      if (none || before) return own;
      throw error;
    }
  }

  async #commitOf(address: HubAddress, revision: string): Promise<string> {
    if (COMMIT.test(revision)) return revision;
    const cache = await this.#cache(address);
    const known = await cache.commitAt(revision);
    if (isOffline()) {
      if (known !== undefined) return known;
      throw new Uncached(`${repositoryOf(address)} is not in the cache ${cache.root}, and HF_HUB_OFFLINE is set`, OFFLINE_HINT);
    }
    try {
      const commit = await this.#askCommit(address, revision);
      if (!this.surroundings.readOnly) await cache.rememberCommit(revision, commit);
      return commit;
    } catch (error) {
      const busy = error instanceof Refused && (error.status === 429 || error.status >= 500);
      if (known === undefined || !(busy || error instanceof Unreachable)) throw error;
      this.surroundings.notice(`${error.message}: ${repositoryOf(address)} is taken as last seen, at commit ${known.slice(0, 7)}`);
      return known;
    }
  }

  async #askCommit(address: HubAddress, revision: string): Promise<string> {
    const { modelInfo, datasetInfo } = await import('@huggingface/hub');
    const asked = {
      name: address.name,
      revision,
      hubUrl: this.#endpoint,
      fetch: this.#fetch(address, revision),
      additionalFields: ['sha' as const],
    };
    try {
      const { sha } = address.type === 'model' ? await modelInfo(asked) : await datasetInfo(asked);
      if (COMMIT.test(String(sha))) return sha;
    } catch (error) {
      // A mirror may know files alone.
      if (!(error instanceof Refused) || error.status !== 404 || error.code !== undefined) throw error;
      const commit = await this.#commitOfFiles(address, revision);
      if (commit === undefined) throw error;
      return commit;
    }
    throw new StepError(
      `${this.#endpoint} does not say what commit ${revision} of ${address.name} is`,
      'Is HF_ENDPOINT the address of a hub?',
    );
  }

  async #commitOfFiles(address: HubAddress, revision: string): Promise<string | undefined> {
    for (const name of ['config.json', 'README.md', '.gitattributes', ...(isSafePath(address.path) ? [address.path] : [])]) {
      const commit = (await this.#head(address, revision, name)).headers.get('x-repo-commit');
      if (commit !== null && COMMIT.test(commit)) return commit;
    }
    return undefined;
  }

  /** All files of a commit. They never change: once asked for, they are kept. */
  async #tree(address: HubAddress, commit: string): Promise<Tree> {
    const cache = await this.#cache(address);
    const kept = await cache.tree(commit);
    if (kept) return kept;
    if (isOffline()) return this.#snapshot(address, commit, cache);
    try {
      const files = await this.#askTree(address, commit);
      if (!this.surroundings.readOnly && Object.values(files).every(({ blob_id }) => blob_id !== ''))
        await cache.rememberTree(commit, files);
      const tree = treeOf(files);
      for (const facts of tree.values()) if (facts.hash?.hex === '') facts.hash = undefined;
      return tree;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      return this.#snapshot(address, commit, cache).catch(() => {
        throw error;
      });
    }
  }

  async #askTree(address: HubAddress, commit: string): Promise<Record<string, TreeEntry>> {
    const { listFiles } = await import('@huggingface/hub');
    const { type, name } = address;
    const files: Record<string, TreeEntry> = {};
    const asked = { repo: { type, name }, recursive: true, revision: commit, hubUrl: this.#endpoint, fetch: this.#fetch(address, commit) };
    for await (const { type, path, size, oid = '', lfs, xetHash } of listFiles(asked)) {
      if (type !== 'file') continue;
      files[path] = {
        size,
        blob_id: oid,
        ...(lfs ? { lfs_sha256: lfs.oid, lfs_size: lfs.size } : {}),
        ...(xetHash ? { xet_hash: xetHash } : {}),
      };
    }
    return files;
  }

  /**
   * What lies in a snapshot that another library made without writing down what belongs to it. A model that has its
   * weights can be taken for whole; of data nobody knows what is missing.
   */
  async #snapshot(address: HubAddress, commit: string, cache: HubCache): Promise<Tree> {
    const names = await cache.names(commit);
    const where = `${repositoryOf(address)} at commit ${commit.slice(0, 7)}`;
    if (names.length === 0) throw new Uncached(`${where} is not in the cache ${cache.root}, and HF_HUB_OFFLINE is set`, OFFLINE_HINT);
    if (!names.includes(address.path) && (address.type === 'dataset' || !(await hasAllWeights(names, commit, cache))))
      throw new Uncached(`the cache ${cache.root} has some files of ${where}; whether it has all cannot be known offline`, OFFLINE_HINT);
    return new Map(
      await Promise.all(names.map(async (name): Promise<[string, FileFacts]> => [name, { size: await cache.sizeOf(commit, name) }])),
    );
  }

  async #fetchFile(address: HubAddress, commit: string, name: string, listed: FileFacts, cache: HubCache, work: Work): Promise<void> {
    const facts: FileFacts & { blob?: string } = listed.hash ? listed : await this.#askFacts(address, commit, name, listed);
    const blob = facts.blob ?? facts.hash!.hex;
    await locked(cache.lock(blob), work, async () => {
      const state = await cache.stateOf(cache.blob(blob), facts);
      if (state === 'damaged') await cache.forget(blob);
      if (state === 'sound') work.onBytes(facts.size);
      else {
        await download({
          url: this.#fileUrl(address, commit, name),
          to: cache.blob(blob),
          what: `${repositoryOf(address)}/${name}`,
          size: facts.size,
          hash: facts.hash,
          authorization: await this.#authorization(),
          refused: (response) => this.#refused(response, address, commit, name),
          signal: work.signal,
          say: work.say,
          onBytes: work.onBytes,
        });
      }
      await cache.link(blob, commit, name);
    });
  }

  /** Of a file whose hash the listing does not have: what the server says before it hands the file out. */
  async #askFacts(address: HubAddress, commit: string, name: string, listed: FileFacts): Promise<FileFacts & { blob?: string }> {
    const response = await this.#head(address, commit, name);
    if (response.status >= 400) throw await this.#refused(response, address, commit, name);
    const etag = (response.headers.get('x-linked-etag') ?? response.headers.get('etag') ?? '').replace(/^W\/|"/g, '');
    const size = response.headers.get('x-linked-size') ?? (response.ok ? response.headers.get('content-length') : null);
    const kind: FileHash['kind'] | undefined = /^[0-9a-f]{64}$/.test(etag) ? 'sha256' : /^[0-9a-f]{40}$/.test(etag) ? 'git' : undefined;
    if (!/^[\w.-]+$/.test(etag))
      throw new StepError(
        `${this.#endpoint} has no ETag for ${name}: what came could not be checked`,
        'Is HF_ENDPOINT the address of a hub?',
      );
    return { size: size === null ? listed.size : Number(size), hash: kind && { kind, hex: etag }, blob: etag };
  }

  /** Of a large file the first answer tells all, and leads to another host. */
  async #head(address: HubAddress, revision: string, name: string): Promise<Response> {
    return ask(this.#fileUrl(address, revision, name), {
      method: 'HEAD',
      headers: { 'accept-encoding': 'identity' },
      authorization: await this.#authorization(),
      until: ({ headers }) => headers.has('x-linked-etag') || headers.has('x-repo-commit'),
    });
  }

  #fileUrl({ type, name }: HubAddress, revision: string, path: string): string {
    const prefix = type === 'dataset' ? 'datasets/' : '';
    return `${this.#endpoint}/${prefix}${name}/resolve/${encodeURIComponent(revision)}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** What `@huggingface/hub` asks with. Its own tokens must begin with hf_, which those of mirrors need not. */
  #fetch(address: HubAddress, revision: string): typeof fetch {
    return async (url, init) => {
      const authorization = new URL(String(url)).origin === new URL(this.#endpoint).origin ? await this.#authorization() : undefined;
      const response = await ask(String(url), { headers: init?.headers as Record<string, string>, authorization });
      if (!response.ok) throw await this.#refused(response, address, revision);
      return response;
    };
  }

  async #authorization(): Promise<string | undefined> {
    this.#token ??= readToken();
    const token = await this.#token;
    return token && `Bearer ${token}`;
  }

  async #refused(response: Response, address: HubAddress, revision: string, name?: string): Promise<Error> {
    await response.body?.cancel();
    const { status, headers } = response;
    const code = headers.get('x-error-code') ?? undefined;
    const said = headers.get('x-error-message');
    const { host } = new URL(this.#endpoint);
    const page = `${this.#endpoint}/${address.type === 'dataset' ? 'datasets/' : ''}${address.name}`;
    const authorized = (await this.#authorization()) !== undefined;
    const refused = (message: string, hint: string) => new Refused(status, code, message, hint);

    if (code === 'GatedRepo')
      return refused(
        `${repositoryOf(address)} is gated: its authors want their terms accepted`,
        authorized
          ? `Accept its terms at ${page}, with the account that your token belongs to.`
          : `Accept its terms at ${page} and set HF_TOKEN (${this.#endpoint}/settings/tokens).`,
      );
    if (code === 'EntryNotFound' || (status === 404 && name !== undefined && code === undefined))
      return refused(
        `there is no ${name ?? 'such file'} in ${repositoryOf(address)}`,
        `Its files: ${page}/tree/${encodeURIComponent(revision)}`,
      );
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
        `${host} does not let you read ${repositoryOf(address)}${said ? `: ${said}` : ''}`,
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

  async #cache({ type, name }: HubAddress): Promise<HubCache> {
    const { getHFHubCachePath, getRepoFolderName } = await import('@huggingface/hub');
    return new HubCache(getHFHubCachePath(), getRepoFolderName({ type, name }), this.surroundings.memo);
  }
}

/** The hub's answer was no. */
class Refused extends StepError {
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

/** Not in the cache, and nobody may be asked. */
class Uncached extends StepError {}

const OFFLINE_HINT = 'Run once with a network and without HF_HUB_OFFLINE.';

const COMMIT = /^[0-9a-f]{40}$/;

function isOffline(): boolean {
  return /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE || process.env.TRANSFORMERS_OFFLINE || '');
}

/** As Hugging Face's libraries find it. */
async function readToken(): Promise<string | undefined> {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const file = (HF_TOKEN_PATH ?? join(home, 'token')).replace(/^~(?=\/|$)/, homedir());
  const token = HF_TOKEN || HUGGING_FACE_HUB_TOKEN || (await readFile(file, 'utf8').catch(() => ''));
  return token.replace(/\s/g, '') || undefined;
}

function refuseMissing(missing: string[], address: HubAddress, commit: string, cache: HubCache): void {
  const needed = missing.filter((name) => !/(^|\/)(README|LICENSE|NOTICE|MODEL_CARD)(\.\w+)?$/i.test(name));
  if (needed.length === 0) return;
  const list = needed.length > 5 ? [...needed.slice(0, 5), `and ${needed.length - 5} more`] : needed;
  const where = `${repositoryOf(address)} at commit ${commit.slice(0, 7)}`;
  throw new Uncached(`the cache ${cache.root} lacks files of ${where}, and HF_HUB_OFFLINE is set: ${list.join(', ')}`, OFFLINE_HINT);
}

async function hasAllWeights(names: string[], commit: string, cache: HubCache): Promise<boolean> {
  if (!names.includes('config.json')) return false;
  if (names.includes('model.safetensors')) return true;
  try {
    const { weight_map } = JSON.parse(await readFile(cache.pathOf(commit, 'model.safetensors.index.json'), 'utf8'));
    return Object.values(weight_map as Record<string, string>).every((shard) => names.includes(shard));
  } catch {
    return false;
  }
}
