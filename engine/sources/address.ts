/**
 * The address of a model or of data that lie elsewhere, as a pipeline writes it in the place of a path. Read here and
 * nowhere else, without touching a network: `validate` finds its mistakes.
 *
 *   hf://owner/name@revision/path              a model repository of the Hugging Face hub
 *   hf://datasets/owner/name@revision/path     a data set of it
 *   kaggle://owner/name@version/path           a data set of Kaggle
 *   kaggle://competitions/name/path            the data of a competition
 *   https://host/x.tar.gz#sha256=…/path        an archive, unpacked, or any other file
 *
 * Each path may be a glob, and be left out.
 */
import { isGlob } from '../pipeline/glob.ts';
import { nearest } from '../suggest.ts';
import type { QueryAddress } from './query-address.ts';

export type Address = HubAddress | KaggleAddress | WebAddress | QueryAddress;

interface Common {
  /** As written. */
  text: string;
  /** Below the repository's or archive's root, without slashes at its ends; empty for all of it. */
  path: string;
}

export interface HubAddress extends Common {
  kind: 'hub';
  type: 'model' | 'dataset';
  /** `owner/name`, or a name alone. */
  name: string;
  /** A branch, a tag or a commit. */
  revision?: string;
}

export interface KaggleAddress extends Common {
  kind: 'kaggle';
  /** `owner/name` of a data set; the name of a competition. */
  name: string;
  competition: boolean;
  version?: number;
}

export interface WebAddress extends Common {
  kind: 'web';
  url: string;
  /** Lower case. */
  sha256: string;
}

interface Mistaken {
  mistake: string;
  hint: string;
}

/** Undefined for a path. */
export function readAddress(text: string): Address | Mistaken | undefined {
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const short = /^(hf|kaggle|https?):\/?/i.exec(text);
    return short ? mistaken(`${text} is no address`, `Write ${short[1]!.toLowerCase()}://${text.slice(short[0].length)}`) : undefined;
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
      return mistaken(`${text} is no path`, unknownScheme(scheme, rest));
  }
}

/** Whether it may stand for several files. */
export function maybeMany(address: Address): boolean {
  return isGlob(address.path) || (address.kind === 'hub' && address.type === 'dataset' && address.path === '');
}

/** One name of a path: no `..`, nothing that another system would take for more than a name. */
export function isSafePath(path: string): boolean {
  return path.split('/').every((name) => name !== '' && name !== '.' && name !== '..' && !/[\\\0]|^[a-z]:/i.test(name));
}

const NAME = /^(?!.*(--|\.\.))[\w](?:[\w.-]*[\w])?$/;
/** Revisions of the hub with a slash that need no escape. */
const SPECIAL = /^refs\/(?:convert\/[\w.-]+|pr\/\d+)(?=\/|$)/;

function readHub(text: string, rest: string): HubAddress | Mistaken {
  const wrong = (what: string, hint = HUB_FORMS) => mistaken(`${text}: ${what}`, hint);
  const prefix = /^[a-z]+(?=\/|$)/.exec(rest)?.[0] ?? '';
  const dataset = prefix === 'datasets';
  if (['dataset', 'model'].includes(prefix))
    return wrong(`the type is written in the plural`, `Write hf://${prefix}s${rest.slice(prefix.length)}`);
  if (['spaces', 'buckets', 'kernels'].includes(prefix)) return wrong(`${prefix} of the hub are not read`, HUB_FORMS);
  const body = dataset || prefix === 'models' ? rest.slice(prefix.length + 1) : rest;

  // The `@` of a revision comes right behind the name; in a path it is a character like others.
  const at = /^[^/@]*(?:\/[^/@]*)?@/.exec(body)?.[0].length;
  const [first = '', second, ...below] = body.split('/');
  const name = at === undefined ? [first, second].filter((part) => part !== undefined && part !== '').join('/') : body.slice(0, at - 1);
  if (name === '') return wrong('names no repository');
  if (!name.split('/').every((part) => NAME.test(part))) return wrong(`"${name}" is no name of a repository`);
  let path = at === undefined ? below.join('/') : '';
  let revision: string | undefined;
  if (at !== undefined) {
    const behind = body.slice(at);
    const written = SPECIAL.exec(behind)?.[0] ?? behind.split('/', 1)[0]!;
    path = behind.slice(written.length + 1);
    try {
      revision = decodeURIComponent(written);
    } catch {
      return wrong(`the revision ${written} is not encoded as in a URL`, 'A % is written %25, a / in a revision %2F.');
    }
    if (revision === '') return wrong('names no revision behind @', 'Write a branch, a tag or a commit; without @ it is the branch main.');
    if (!isSafePath(revision) || /[\s~^:?*[]|\.\./.test(revision)) return wrong(`"${revision}" is no name of a revision`);
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
      return wrong('the data of a competition have no versions', `Write kaggle://competitions/${second.split('@')[0]}`);
    if (!NAME.test(second)) return wrong(second === '' ? 'names no competition' : `"${second}" is no name of a competition`);
    return withPath(path, { kind: 'kaggle', text, name: second, competition: true });
  }
  if (first === 'datasets') return wrong('data sets have no prefix here', `Write kaggle://${rest.slice('datasets/'.length)}`);
  const [slug = '', version, ...more] = second.split('@');
  const name = `${first}/${slug}`;
  if (!NAME.test(first) || !NAME.test(slug)) return wrong(`"${name}" is no owner/name of a data set`);
  if (more.length > 0 || (version !== undefined && !/^[1-9]\d{0,8}$/.test(version)))
    return wrong(`@${[version, ...more].join('@')} is no version`, 'Versions are counted: @1, @2 and so on. Without one it is the newest.');
  return withPath(path, { kind: 'kaggle', text, name, competition: false, version: version === undefined ? undefined : Number(version) });
}

const KAGGLE_FORMS = 'Write kaggle://owner/name@version/file, or kaggle://competitions/name/file.';

function readWeb(text: string): WebAddress | Mistaken {
  const [written = '', fragment] = text.split(/#(.*)/s, 2);
  let url: URL;
  try {
    url = new URL(written);
  } catch {
    return mistaken(`${text} is no URL`, 'Write https://host/path/archive.tar.gz#sha256=…');
  }
  const known = knownSite(url);
  if (known !== undefined) return mistaken(`${text} is a page to look at`, `Write ${known}`);
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol === 'http:' && !local) return mistaken(`${text} is not encrypted`, `Write https://${written.slice('http://'.length)}`);
  if (url.username !== '' || url.password !== '')
    return mistaken(
      `${url.host}: a password has no place in a pipeline`,
      'Fetch the file in a step of its own, with the password in its `secrets`.',
    );
  const form = /\.tar\.(bz2|xz|lz|lzma|zst|Z)$|\.(tbz2?|txz|7z|rar)$/i.exec(url.pathname)?.[0];
  if (form) return mistaken(`${written}: archives of the form ${form} are not unpacked`, 'Those that are: .tar.gz, .tgz, .tar and .zip.');
  const found = /^sha256=([^/]*)\/?(.*)$/s.exec(fragment ?? '');
  if (!found) {
    const what = fragment ? `#${fragment} is no SHA-256` : 'the SHA-256 of the file is missing';
    return mistaken(`${written}: ${what}`, `Write ${written}#sha256=<64 hex digits>. This prints it: curl -L '${written}' | sha256sum`);
  }
  const sha256 = found[1]!.toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(sha256))
    return mistaken(
      `${written}: "${found[1]}" is no SHA-256`,
      `It has 64 digits, of 0-9 and a-f; here are ${found[1]!.length} characters.`,
    );
  return withPath(found[2]!, { kind: 'web', text, url: written, sha256 });
}

/** Pages that people copy from their browser. */
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

/** With the path below, if that is one. */
function withPath<T extends Omit<Address, 'path'>>(written: string, address: T): (T & { path: string }) | Mistaken {
  const path = written.replace(/^\/+|\/+$/g, '');
  if (/(?<!\\)[@!+?*]\(/.test(path)) return mistaken(`${address.text}: ${path} is a glob of a kind that addresses do not have`, GLOBS);
  if (path === '' || isSafePath(path) || (isGlob(path) && isSafePath(path.replace(/\\(?=[*?[\]{}()!@+])/g, ''))))
    return { ...address, path };
  return mistaken(`${address.text}: ${path} is no path within it`, 'Write it with single slashes, without "." and "..".');
}

const GLOBS = 'They have *, ?, [a-z], {a,b}, {1..3} and **.';

function unknownScheme(scheme: string, rest: string): string {
  const meant = scheme === 'huggingface' ? 'hf' : nearest(scheme, ['hf', 'kaggle', 'https']);
  const all = 'Inputs are files and folders, or lie at hf://…, kaggle://… or https://…#sha256=…';
  return meant ? `Did you mean ${meant}://${rest}? ${all}` : `${all} Download anything else in a step of its own.`;
}

function mistaken(mistake: string, hint: string): Mistaken {
  return { mistake, hint };
}
