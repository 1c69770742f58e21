/** Datasets and competitions of Kaggle. A competition has no version, so a hash of its list of files replaces it. */

import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { sha256 } from '../../cache/digest.ts';
import { isSafePath, type KaggleAddress } from '../contract/address.ts';
import { StepError, sendRequest } from '../contract/step.ts';
import { isGlob } from '../files/glob.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import { matchNames } from './choose-files.ts';
import { type DownloadRequest, download, type FileHash } from './download.ts';
import { downloadReports, type FetchedStore, type FetchProgress } from './fetched-store.ts';
import { type AddressProvider, type Fetched, type FetchSettings, inParallel } from './provider.ts';
import { unpack } from './unpack.ts';

export class Kaggle implements AddressProvider<KaggleAddress> {
  readonly #api = apiOf(process.env.KAGGLE_API_ENDPOINT || 'https://www.kaggle.com');

  constructor(
    private readonly store: FetchedStore,
    private readonly settings: FetchSettings,
  ) {}

  async pin(address: KaggleAddress): Promise<{ name: string; revision: string }> {
    const name = nameOf({ ...address, version: undefined }) + (address.path === '' ? '' : `/${address.path}`);
    return { name, revision: await this.#version(address) };
  }

  /** The current version of the address; the last known one if Kaggle cannot be reached. */
  async #version(address: KaggleAddress): Promise<string> {
    if (address.version !== undefined) return String(address.version);
    const memory = join('kaggle', `${folderOf(address)}.version`);
    const known = await this.store.readText(memory);
    try {
      const version = address.competition ? await this.#stateOf(address) : await this.#newest(address);
      if (!this.settings.readOnly && version !== known) this.store.writeText(memory, version);
      return version;
    } catch (error) {
      if (known === undefined || !(error instanceof StepError)) throw error;
      this.settings.notice(`${error.message}; using the last known version of ${nameOf(address)}, ${known.slice(0, 12)}`);
      return known;
    }
  }

  /** Downloads a file or the matches of a glob one by one; everything or a folder as one archive. */
  async fetch(address: KaggleAddress, version: string, progress: FetchProgress): Promise<Fetched[]> {
    const { path } = address;
    const folder = join('kaggle', `${folderOf(address)}@${version.slice(0, 12)}`);
    const root = nameOf({ ...address, version: undefined });
    // The version of a competition is our own hash, which users cannot look up.
    const repository = address.competition ? root : `${root}@${version}`;
    if (path === '') return [{ path: await this.#all(folder, address, version, progress), address: root, repository }];
    const names = isGlob(path) ? await this.#matching(address, version, folder) : [path];
    const places = new Map<string, string>();
    try {
      await inParallel(names, progress.signal, async (name, signal) => {
        places.set(name, await this.#file(name, folder, address, version, { ...progress, signal }));
      });
    } catch (error) {
      // No file has that name, so it may be a folder, which the API does not list.
      if (!(error instanceof MissingFile) || isGlob(path)) throw error;
      const all = await this.#names(address, version, folder).catch(() => []);
      if (all.some((name) => name.startsWith(`${path}/`)))
        places.set(path, join(await this.#all(folder, address, version, progress), path));
      else throw all.length > 0 ? new StepError(error.message, didYouMean(path, all, 'its files')) : error;
    }
    return names.map((name) => ({ path: places.get(name)!, address: `${root}/${name}`, repository }));
  }

  async #all(folder: string, address: KaggleAddress, version: string, progress: FetchProgress): Promise<string> {
    return this.store.getOrMake(join(folder, 'all'), progress, async (files) => {
      const archive = this.store.download(`${folderOf(address)}@${version.slice(0, 12)}.zip`);
      await this.#download({ url: this.#wholeUrl(address, version), to: archive, what: nameOf(address) }, address, progress);
      const inside = `${address.name.split('/').at(-1)}@${version.slice(0, 7)}`;
      await unpack(archive, 'zip', join(files, inside), nameOf(address), progress.signal);
      await rm(archive, { force: true });
      return inside;
    });
  }

  async #file(name: string, folder: string, address: KaggleAddress, version: string, progress: FetchProgress): Promise<string> {
    return this.store.getOrMake(join(folder, 'file', encodeURIComponent(name)), progress, async (files) => {
      const to = join(files, name);
      await mkdir(dirname(to), { recursive: true });
      const what = `${nameOf(address)}/${name}`;
      const downloaded = this.store.download(`${folderOf(address)}@${version.slice(0, 12)}-${encodeURIComponent(name)}`);
      const headers = await this.#download({ url: this.#fileUrl(address, version, name), to: downloaded, what }, address, progress, name);
      // Kaggle zips larger files, which only this header shows.
      const packed = headers.get('content-type')?.startsWith('application/zip') && !/\.zip$/i.test(name);
      if (packed) {
        const unpacked = `${files}-unpacked`;
        await unpack(downloaded, 'zip', unpacked, what, progress.signal);
        const entries = await readdir(unpacked);
        const inside = entries.find((one) => one === basename(name)) ?? entries[0];
        if (inside === undefined) throw new StepError(`${what} came as an empty archive`, 'Run again later.');
        await rename(join(unpacked, inside), to);
        await rm(unpacked, { recursive: true, force: true });
        await rm(downloaded, { force: true });
      } else await rename(downloaded, to);
      return name;
    });
  }

  async #matching(address: KaggleAddress, version: string, folder: string): Promise<string[]> {
    const names = await this.#names(address, version, folder);
    const odd = names.find((name) => !isSafePath(name));
    if (odd !== undefined)
      throw new StepError(`${nameOf(address)} has a file with a path outside of its folder: ${odd}`, 'Do not use this dataset.');
    const found = matchNames(names, address.path);
    if (found.length === 0)
      throw new StepError(`nothing in ${nameOf(address)} matches ${address.path}`, didYouMean(address.path, names, 'its files'));
    return found;
  }

  /** The list of a version's files, which is requested once and cached with them. */
  async #names(address: KaggleAddress, version: string, folder: string): Promise<string[]> {
    const memory = `${folder}.files`;
    const kept = await this.store.readText(memory);
    if (kept !== undefined) return JSON.parse(kept);
    const names = (await this.#list(address, version)).map(({ name }) => name).sort();
    this.store.writeText(memory, JSON.stringify(names));
    return names;
  }

  async #newest(address: KaggleAddress): Promise<string> {
    const { currentVersionNumber } = (await this.#json(`datasets/view/${address.name}`, address)) as { currentVersionNumber?: number };
    if (currentVersionNumber === undefined)
      throw new StepError(`Kaggle did not report the newest version of ${address.name}`, 'Add a version to the address: @1, @2 …');
    return String(currentVersionNumber);
  }

  async #stateOf(address: KaggleAddress): Promise<string> {
    const files = await this.#list(address, '');
    const state = files.map(({ name, totalBytes, creationDate }) => [name, totalBytes ?? 0, creationDate ?? '']).sort();
    return sha256(JSON.stringify(state));
  }

  async #list(address: KaggleAddress, version: string): Promise<Listed[]> {
    const files: Listed[] = [];
    let page = '';
    do {
      const query = new URLSearchParams({
        ...(address.competition ? {} : { datasetVersionNumber: version }),
        pageSize: '200',
        ...(page === '' ? {} : { pageToken: page }),
      });
      const path = address.competition ? `competitions/data/list/${address.name}` : `datasets/list/${address.name}`;
      const answer = (await this.#json(`${path}?${query}`, address)) as
        | Listed[]
        | { datasetFiles?: Listed[]; files?: Listed[]; nextPageToken?: string };
      files.push(...(Array.isArray(answer) ? answer : (answer.datasetFiles ?? answer.files ?? [])));
      page = Array.isArray(answer) ? '' : (answer.nextPageToken ?? '');
    } while (page !== '');
    return files;
  }

  async #json(path: string, address: KaggleAddress): Promise<unknown> {
    const response = await sendRequest(`${this.#api}/${path}`, {
      authorization: await authorization(address),
      signal: this.settings.signal,
    });
    if (!response.ok) throw await this.#refused(response, address);
    try {
      return await response.json();
    } catch {
      throw new StepError(`the response of ${this.#api} is not JSON`, 'Check KAGGLE_API_ENDPOINT.');
    }
  }

  async #download(
    target: Pick<DownloadRequest, 'url' | 'to' | 'what'>,
    address: KaggleAddress,
    progress: FetchProgress,
    file?: string,
  ): Promise<Headers> {
    const refused = (response: Response) => this.#refused(response, address, file);
    return download({ ...target, authorization: await authorization(address), hashIn: md5In, refused, ...downloadReports(progress) });
  }

  #fileUrl({ competition, name }: KaggleAddress, version: string, path: string): string {
    const file = encodeURIComponent(path);
    return competition
      ? `${this.#api}/competitions/data/download/${name}/${file}`
      : `${this.#api}/datasets/download/${name}/${file}?datasetVersionNumber=${version}`;
  }

  #wholeUrl({ competition, name }: KaggleAddress, version: string): string {
    return competition
      ? `${this.#api}/competitions/data/download-all/${name}`
      : `${this.#api}/datasets/download/${name}?datasetVersionNumber=${version}`;
  }

  async #refused(response: Response, address: KaggleAddress, file?: string): Promise<Error> {
    await response.body?.cancel();
    const page = `${this.#api.slice(0, -'/api/v1'.length)}/${address.competition ? 'competitions' : 'datasets'}/${address.name}`;
    const { status } = response;
    if (status === 401) return new StepError('Kaggle rejected your credentials', CREDENTIALS);
    if (status === 403)
      return new StepError(
        `Kaggle denied access to ${nameOf(address)}`,
        address.competition
          ? `Accept the rules at ${page}/rules with the account of your key.`
          : `Check at ${page} whether it is private or has terms to accept.`,
      );
    if (status === 404)
      return file === undefined
        ? new StepError(`Kaggle has no ${nameOf(address)}`, `Check the name and version: ${page}`)
        : new MissingFile(`there is no ${file} in ${nameOf(address)}`, `Its files: ${page}`);
    if (status === 429) return new StepError('Kaggle still answers 429, too many requests, after several retries', 'Run again later.');
    return new StepError(`Kaggle answers ${status} for ${nameOf(address)}`, 'Run again later.');
  }
}

class MissingFile extends StepError {}

interface Listed {
  name: string;
  totalBytes?: number;
  creationDate?: string;
}

function apiOf(endpoint: string): string {
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint))
    throw new StepError(`KAGGLE_API_ENDPOINT is not a URL: ${endpoint}`, 'Unset it to use https://www.kaggle.com.');
  return `${endpoint.replace(/\/+$/, '').replace(/\/api\/v1$/, '')}/api/v1`;
}

const CREDENTIALS =
  'Create an API key in the settings at kaggle.com. Then set KAGGLE_USERNAME and KAGGLE_KEY, or put kaggle.json in ~/.kaggle (or KAGGLE_CONFIG_DIR).';

async function authorization(address: KaggleAddress): Promise<string> {
  const { KAGGLE_API_TOKEN, KAGGLE_USERNAME, KAGGLE_KEY, KAGGLE_CONFIG_DIR } = process.env;
  if (KAGGLE_API_TOKEN) return `Bearer ${KAGGLE_API_TOKEN.trim()}`;
  let [username, key] = [KAGGLE_USERNAME, KAGGLE_KEY];
  if (!username || !key) {
    const file = join(KAGGLE_CONFIG_DIR || join(homedir(), '.kaggle'), 'kaggle.json');
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) throw new StepError(`${address.text} needs a Kaggle account, but no credentials are set`, CREDENTIALS);
    try {
      ({ username, key } = JSON.parse(text));
    } catch {
      throw new StepError(`${file} is not JSON`, CREDENTIALS);
    }
    if (!username || !key) throw new StepError(`${file} lacks ${username ? 'key' : 'username'}`, CREDENTIALS);
  }
  return `Basic ${Buffer.from(`${username}:${key}`).toString('base64')}`;
}

/** The MD5 from the headers of Google's storage, where Kaggle stores files. */
function md5In(headers: Headers): FileHash | undefined {
  const found = /(?:^|[,\s])md5=([A-Za-z0-9+/]{22}==)/.exec(headers.get('x-goog-hash') ?? '');
  return found ? { kind: 'md5', hex: Buffer.from(found[1]!, 'base64').toString('hex') } : undefined;
}

function nameOf({ name, competition, version }: KaggleAddress): string {
  return `kaggle://${competition ? 'competitions/' : ''}${name}${version === undefined ? '' : `@${version}`}`;
}

function folderOf({ name, competition }: KaggleAddress): string {
  return `${competition ? 'competitions' : 'datasets'}--${name.replace('/', '--')}`;
}
