/**
 * Parses addresses of remote models and data, which a pipeline may use instead of paths. Only this file parses them, without
 * network access, so that `validate` finds errors in them.
 *
 *   hf://owner/name@revision/path              a model repository of the Hugging Face hub
 *   hf://datasets/owner/name@revision/path     a dataset of the Hugging Face hub
 *   kaggle://owner/name@version/path           a dataset of Kaggle
 *   kaggle://competitions/name/path            the data of a competition
 *   https://host/x.tar.gz#sha256=…/path        an archive, which is unpacked, or any other file
 *
 *   { url, query }                             the rows of a database query
 *
 * Each path is optional and may be a glob.
 */

import { resolve } from 'node:path';
import { isGlob } from '../files/glob.ts';
import { nearest } from '../format/did-you-mean.ts';

export type Address = HubAddress | KaggleAddress | WebAddress | QueryAddress;

interface Common {
  /** The address as written. */
  text: string;
  /** Path below the root of the repository or archive, without slashes at its ends; empty for everything. */
  path: string;
}

export interface HubAddress extends Common {
  kind: 'hub';
  type: 'model' | 'dataset';
  /** `owner/name`, or only a name. */
  name: string;
  /** A branch, a tag or a commit. */
  revision?: string;
}

export interface KaggleAddress extends Common {
  kind: 'kaggle';
  /** `owner/name` of a dataset, or the name of a competition. */
  name: string;
  competition: boolean;
  version?: number;
}

export interface WebAddress extends Common {
  kind: 'web';
  url: string;
  /** In lower case. */
  sha256: string;
}

export interface QueryAddress {
  kind: 'query';
  /** The URL and the query in one line, for messages. They contain no password. */
  text: string;
  path: '';
  url: string;
  /** Absolute path of a SQLite file. */
  file?: string;
  query: string;
}

interface Mistaken {
  mistake: string;
  hint: string;
}

/** Parses an address; undefined for a path. */
export function readAddress(text: string): Address | Mistaken | undefined {
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const short = /^(hf|kaggle|https?):\/?/i.exec(text);
    return short
      ? mistaken(`${text} is not a valid address`, `Write ${short[1]!.toLowerCase()}://${text.slice(short[0].length)}`)
      : undefined;
  }
  const rest = text.slice(scheme.length + '://'.length);
  switch (scheme) {
    case 'hf':
      return readHub(text, rest);
    case 'kaggle':
      return readKaggle(text, rest);
    case 'http':
    case 'https':
      return readWeb(text);
    default:
      return mistaken(`${text} is not a path`, unknownScheme(scheme, rest));
  }
}

export function maybeMany(address: Address): boolean {
  return isGlob(address.path) || (address.kind === 'hub' && address.type === 'dataset' && address.path === '');
}

/** A valid name in a path: not `..` and without characters that are special on another system. */
export function isSafePath(path: string): boolean {
  return path.split('/').every((name) => name !== '' && name !== '.' && name !== '..' && !/[\\\0]|^[a-z]:/i.test(name));
}

const NAME = /^(?!.*(--|\.\.))[\w](?:[\w.-]*[\w])?$/;
/** Revisions of the hub that contain a slash and need no escape. */
const SPECIAL = /^refs\/(?:convert\/[\w.-]+|pr\/\d+)(?=\/|$)/;

function readHub(text: string, rest: string): HubAddress | Mistaken {
  const wrong = (what: string, hint = HUB_FORMS) => mistaken(`${text}: ${what}`, hint);
  const prefix = /^[a-z]+(?=\/|$)/.exec(rest)?.[0] ?? '';
  const dataset = prefix === 'datasets';
  if (['dataset', 'model'].includes(prefix))
    return wrong(`the type must be in the plural`, `Write hf://${prefix}s${rest.slice(prefix.length)}`);
  if (['spaces', 'buckets', 'kernels'].includes(prefix)) return wrong(`${prefix} of the hub are not supported`, HUB_FORMS);
  const body = dataset || prefix === 'models' ? rest.slice(prefix.length + 1) : rest;

  // The `@` of a revision follows the name. In a path, `@` has no special meaning.
  const at = /^[^/@]*(?:\/[^/@]*)?@/.exec(body)?.[0].length;
  const [first = '', second, ...below] = body.split('/');
  const name = at === undefined ? [first, second].filter((part) => part !== undefined && part !== '').join('/') : body.slice(0, at - 1);
  if (name === '') return wrong('the repository is missing');
  if (!name.split('/').every((part) => NAME.test(part))) return wrong(`"${name}" is not a valid name of a repository`);
  let path = at === undefined ? below.join('/') : '';
  let revision: string | undefined;
  if (at !== undefined) {
    const behind = body.slice(at);
    const written = SPECIAL.exec(behind)?.[0] ?? behind.split('/', 1)[0]!;
    path = behind.slice(written.length + 1);
    try {
      revision = decodeURIComponent(written);
    } catch {
      return wrong(`the revision ${written} is not URL-encoded`, 'Write % as %25, and / in a revision as %2F.');
    }
    if (revision === '')
      return wrong('the revision after @ is missing', 'Write a branch, a tag or a commit. Without @, the branch is main.');
    if (!isSafePath(revision) || /[\s~^:?*[]|\.\./.test(revision)) return wrong(`"${revision}" is not a valid revision`);
  }
  return withPath(path, { kind: 'hub', text, type: dataset ? 'dataset' : 'model', name, revision });
}

const HUB_FORMS = 'Write hf://owner/name@revision for a model, hf://datasets/owner/name@revision/path for data.';

function readKaggle(text: string, rest: string): KaggleAddress | Mistaken {
  const wrong = (what: string, hint = KAGGLE_FORMS) => mistaken(`${text}: ${what}`, hint);
  const [first = '', second = '', ...below] = rest.split('/');
  const path = below.join('/');
  if (first === 'competitions') {
    if (second.includes('@'))
      return wrong('the data of a competition has no versions', `Write kaggle://competitions/${second.split('@')[0]}`);
    if (!NAME.test(second)) return wrong(second === '' ? 'the competition is missing' : `"${second}" is not a valid name of a competition`);
    return withPath(path, { kind: 'kaggle', text, name: second, competition: true });
  }
  if (first === 'datasets') return wrong('datasets of Kaggle have no prefix', `Write kaggle://${rest.slice('datasets/'.length)}`);
  const [slug = '', version, ...more] = second.split('@');
  const name = `${first}/${slug}`;
  if (!NAME.test(first) || !NAME.test(slug)) return wrong(`"${name}" is not the owner/name of a dataset`);
  if (more.length > 0 || (version !== undefined && !/^[1-9]\d{0,8}$/.test(version)))
    return wrong(
      `@${[version, ...more].join('@')} is not a version`,
      'Versions are numbers: @1, @2 and so on. Without a version, the newest is used.',
    );
  return withPath(path, { kind: 'kaggle', text, name, competition: false, version: version === undefined ? undefined : Number(version) });
}

const KAGGLE_FORMS = 'Write kaggle://owner/name@version/file, or kaggle://competitions/name/file.';

function readWeb(text: string): WebAddress | Mistaken {
  const [written = '', fragment] = text.split(/#(.*)/s, 2);
  let url: URL;
  try {
    url = new URL(written);
  } catch {
    return mistaken(`${text} is not a URL`, 'Write https://host/path/archive.tar.gz#sha256=…');
  }
  const known = knownSite(url);
  if (known !== undefined) return mistaken(`${text} is a web page, not a file`, `Write ${known}`);
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol === 'http:' && !local) return mistaken(`${text} does not use https`, `Write https://${written.slice('http://'.length)}`);
  if (url.username !== '' || url.password !== '')
    return mistaken(
      `${url.host}: a URL in a pipeline must not contain a password`,
      'Download the file in a separate step, with the password in its `secrets`.',
    );
  const form = /\.tar\.(bz2|xz|lz|lzma|zst|Z)$|\.(tbz2?|txz|7z|rar)$/i.exec(url.pathname)?.[0];
  if (form) return mistaken(`${written}: archives of type ${form} are not supported`, 'Supported types are .tar.gz, .tgz, .tar and .zip.');
  const found = /^sha256=([^/]*)\/?(.*)$/s.exec(fragment ?? '');
  if (!found) {
    const what = fragment ? `#${fragment} is not a SHA-256` : 'the SHA-256 of the file is missing';
    return mistaken(
      `${written}: ${what}`,
      `Write ${written}#sha256=<64 hex digits>. To compute the hash, run: curl -L '${written}' | sha256sum`,
    );
  }
  const sha256 = found[1]!.toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(sha256))
    return mistaken(
      `${written}: "${found[1]}" is not a SHA-256`,
      `A SHA-256 has 64 digits from 0-9 and a-f. This has ${found[1]!.length} characters.`,
    );
  return withPath(found[2]!, { kind: 'web', text, url: written, sha256 });
}

/** URLs of web pages that users copy from their browser. */
function knownSite({ hostname, pathname }: URL): string | undefined {
  if (/^(www\.)?(huggingface\.co|hf\.co)$/.test(hostname)) {
    const page = /^\/((?:datasets\/)?[^/]+(?:\/[^/]+)?)(?:\/(?:tree|blob|resolve|raw)\/([^/]+)(\/.*)?)?\/?$/.exec(pathname);
    return page ? `hf://${page[1]}${page[2] ? `@${page[2]}` : ''}${page[3] ?? ''}` : undefined;
  }
  if (/^(www\.)?kaggle\.com$/.test(hostname)) {
    const page = /^\/(?:datasets\/([^/]+\/[^/]+)|c\/([^/]+)|(competitions\/[^/]+))/.exec(pathname);
    return page ? `kaggle://${page[1] ?? page[3] ?? `competitions/${page[2]}`}` : undefined;
  }
  return undefined;
}

function withPath<T extends Omit<Address, 'path'>>(written: string, address: T): (T & { path: string }) | Mistaken {
  const path = written.replace(/^\/+|\/+$/g, '');
  if (/(?<!\\)[@!+?*]\(/.test(path)) return mistaken(`${address.text}: the glob ${path} uses syntax that addresses do not support`, GLOBS);
  if (path === '' || isSafePath(path) || (isGlob(path) && isSafePath(path.replace(/\\(?=[*?[\]{}()!@+])/g, ''))))
    return { ...address, path };
  return mistaken(`${address.text}: ${path} is not a valid path`, 'Write the path with single slashes, without "." and "..".');
}

const GLOBS = 'Globs in addresses support *, ?, [a-z], {a,b}, {1..3} and **.';

function unknownScheme(scheme: string, rest: string): string {
  const meant = scheme === 'huggingface' ? 'hf' : nearest(scheme, ['hf', 'kaggle', 'https']);
  const all = 'Inputs are files, folders, or addresses: hf://…, kaggle://… or https://…#sha256=…';
  return meant ? `Did you mean ${meant}://${rest}? ${all}` : `${all} Download anything else in a separate step.`;
}

function mistaken(mistake: string, hint: string): Mistaken {
  return { mistake, hint };
}

/** A database query that a pipeline uses instead of a path. Opens no connection. `folder`: paths are relative to it. */
export function readQueryAddress({ url, query }: { url: string; query: string }, folder: string): QueryAddress | MistakenQuery {
  const text = `${url} ${query.replaceAll(/\s+/g, ' ').trim()}`;
  if (query.trim() === '') return { at: 'query', mistake: 'the query is empty', hint: 'Write a SELECT.' };
  const sqlite = /^sqlite:(?:\/\/(?=\/))?(.+)$/i.exec(url);
  if (sqlite) return { kind: 'query', text, path: '', url, file: resolve(folder, sqlite[1]!), query };
  if (!/^postgres(ql)?:\/\//i.test(url)) return { at: 'url', mistake: 'databases of this type are not supported', hint: FORMS };
  let parsed: URL;
  try {
    parsed = new URL(url.replace(/^postgres(ql)?:\/\/(?=[/?]|$)/i, '$&localhost'));
  } catch {
    // Do not print the URL, which may contain a password.
    return { at: 'url', mistake: 'the URL of the database is invalid', hint: FORMS };
  }
  if (parsed.password !== '' || [...parsed.searchParams.keys()].some((name) => /password|passfile|sslkey/i.test(name)))
    return {
      at: 'url',
      mistake: `the URL of the database on ${parsed.host} contains a password, which must not be in a pipeline`,
      hint: 'Remove it, and set PGPASSWORD (and PGUSER) in the environment, or create a ~/.pgpass file.',
    };
  return { kind: 'query', text, path: '', url, query };
}

const FORMS = 'Write postgres://host:port/database, or sqlite:FILE.';

interface MistakenQuery {
  at: 'url' | 'query';
  mistake: string;
  hint?: string;
}
