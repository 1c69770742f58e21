/** Chooses the files of a repository: by a path, by a glob, or otherwise the files that its kind needs. */

import { readdirSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { extname } from 'node:path/posix';
import type { Address, HubAddress } from '../contract/address.ts';
import { StepError } from '../contract/step.ts';
import { isGlob, matcher, matches } from '../files/glob.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import { compareBytes } from '../format/scalars.ts';
import type { Fetched } from './provider.ts';

interface ChosenFiles {
  files: string[];
  /** The paths that the input receives, relative to the repository; '' means all of it. */
  given: string[];
}

/** Throws StepError if no file matches. `listed`: the paths of all files of the repository. */
export function chooseFiles(listed: Iterable<string>, address: HubAddress): ChosenFiles {
  // Always in the same order, because it decides the order of the rows.
  const names = [...listed].sort(compareBytes);
  const { path, type, text } = address;
  if (names.includes(path)) return { files: [path], given: [path] };
  if (isGlob(path)) {
    const files = matchNames(names, path);
    if (files.length > 0) return { files, given: files };
    throw new StepError(`nothing in ${repositoryOf(address)} matches ${path}`, didYouMean(path, names, 'its files'));
  }
  if (names.length === 0) throw new StepError(`${repositoryOf(address)} is empty`, 'Check its name and revision.');
  const below = path === '' ? names : names.filter((name) => name.startsWith(`${path}/`));
  if (below.length === 0 && path !== '')
    throw new StepError(`there is no ${path} in ${repositoryOf(address)}`, didYouMean(path, names, 'its files'));
  if (type === 'dataset' && path === '') {
    const files = dataFiles(names);
    if (files.length > 0) return { files, given: files };
    throw new StepError(
      `${text} contains no Parquet, JSON Lines, CSV or text files`,
      didYouMean('', names, 'Add the path of a file or a glob to the address. Its files'),
    );
  }
  return { files: type === 'dataset' ? below.filter(isVisible) : modelFiles(below, path, text), given: [path] };
}

/** The files of the first format that exists. Formats with types come before those that need guessing. */
export function dataFiles(names: string[]): string[] {
  const visible = names.filter((name) => isVisible(name) && !ABOUT.test(name));
  const of = (...extensions: string[]) => visible.filter((name) => extensions.includes(extname(name.replace(/\.gz$/i, '')).toLowerCase()));
  return [of('.parquet'), of('.jsonl', '.ndjson'), of('.json'), of('.csv'), of('.tsv'), of('.txt')].find((found) => found.length > 0) ?? [];
}

const ABOUT = /(^|\/)(dataset_infos?\.json|README\.(md|txt)|LICENSE(\.\w+)?|requirements\.txt)$/i;

/** A model's files, without copies of the weights for other libraries. Without `config.json`, its kind is unknown: all files. */
function modelFiles(names: string[], folder: string, text: string): string[] {
  const root = folder === '' ? '' : `${folder}/`;
  const own = names.filter((name) => isVisible(name)).map((name) => name.slice(root.length));
  const weights = weightsOf(own);
  const pickles = own.filter((name) => PICKLED.test(name) && !name.includes('/'));
  if (weights.length === 0 && pickles.length > 0) {
    const one = /\.(h5|msgpack|ckpt)$/i.test(pickles[0]!) ? '' : ', a pickle, which can run arbitrary code when it is opened';
    throw new StepError(`${text} has its weights only as ${pickles[0]}${one}; tunesmith reads only safetensors`, CONVERT);
  }
  if (!own.includes('config.json')) return names.filter(isVisible);
  const taken = own.filter((name) => weights.includes(name) || (TEXTS.test(name) && !TWINS.test(name) && !/\.safetensors$/.test(name)));
  return taken.map((name) => root + name);
}

function weightsOf(names: string[]): string[] {
  // Modules of a sentence encoder have their weights in subfolders: 2_Dense/model.safetensors.
  const modules = names.filter((name) => /^\d+_\w+\/[^/]+\.safetensors$/.test(name));
  if (names.includes('model.safetensors')) return ['model.safetensors', ...modules];
  const shards = names.filter((name) => /^model-\d+-of-\d+\.safetensors$/.test(name));
  if (names.includes('model.safetensors.index.json') && shards.length > 0) return [...shards, ...modules];
  return [...names.filter((name) => /^[^/]+\.safetensors$/.test(name)), ...modules];
}

const TEXTS = /(\.(json|txt|model|jinja|tiktoken|spm|vocab)|(^|\/)(README\.md|LICENSE(\.\w+)?|NOTICE(\.\w+)?|MODEL_CARD\.md))$/i;
/** The model for other libraries, training states, and the indexes of weights that are not used. */
const TWINS =
  /(^|\/)(onnx|openvino|coreml|tflite|gguf|ggml|mlx|original|runs|logs|checkpoint-[^/]+|global_step[^/]*)\/|\.(bin|h5|msgpack)\.index\.json$|(^|\/)(trainer_state|optimizer)\.json$/i;
const PICKLED =
  /(^|\/)((pytorch_model|model|tf_model|flax_model|adapter_model|diffusion_pytorch_model)[^/]*\.(bin|h5|msgpack|ckpt|pt|pth)|consolidated[^/]*\.pth?)$/i;

const CONVERT = `Let the hub convert it: huggingface.co/spaces/safetensors/convert opens a pull request. Its address is hf://owner/name@refs/pr/1.
Or convert it with Python and use the folder with the result:
  import torch; from safetensors.torch import save_file
  weights = torch.load("pytorch_model.bin", weights_only=True)
  save_file({name: w.clone() for name, w in weights.items()}, "model.safetensors", {"format": "pt"})`;

function isVisible(name: string): boolean {
  return !name.split('/').some((part) => part.startsWith('.'));
}

export function repositoryOf({ type, name, revision }: HubAddress): string {
  return `hf://${type === 'dataset' ? 'datasets/' : ''}${name}${revision === undefined ? '' : `@${revision}`}`;
}

/** Globs over remote file names, with the same meaning as for local files. Supports `*`, `?`, `[a-z]`, `{a,b}`, `{1..3}` and `**`. Names are relative. Names that begin with a dot do not match. */
export function matchNames(names: string[], glob: string): string[] {
  const match = matcher(`/${glob.replace(/(?<!\\)\{(-?\d+)\.\.(-?\d+)\}/g, expandRange)}`, '/');
  return names.filter((name) => match(`/${name}`) === 'itself');
}

/** Expands `{08..11}` as a shell does: {08,09,10,11}. */
function expandRange(_: string, from: string, to: string): string {
  const [first, last] = [Number(from), Number(to)];
  const width = /^-?0\d/.test(from) || /^-?0\d/.test(to) ? Math.max(from.length, to.length) : 0;
  const step = first <= last ? 1 : -1;
  const all = Array.from({ length: Math.min(10_000, Math.abs(last - first) + 1) }, (_, i) => first + i * step);
  return `{${all.map((n) => String(n).padStart(width, '0')).join(',')}}`;
}

/** Resolves a path or glob inside a downloaded folder. `root`: the downloaded folder or file; `name`: its address. */
export function resolveInside(root: string, { path }: Address, name: string): Fetched[] {
  if (path === '') return [{ path: root, address: name }];
  const one = isGlob(path) ? undefined : statSync(join(root, path), { throwIfNoEntry: false });
  const found = isGlob(path) ? matches(path, root) : one ? [join(root, path)] : [];
  if (found.length > 0) return found.map((file) => ({ path: file, address: `${name}/${relative(root, file).split(sep).join('/')}` }));
  if (!statSync(root).isDirectory())
    throw new StepError(`${name} is a file, so it cannot contain ${path}`, `Remove /${path} from the address.`);
  const names = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
  throw new StepError(
    isGlob(path) ? `nothing in ${name} matches ${path}` : `there is no ${path} in ${name}`,
    didYouMean(path, names, 'its files'),
  );
}
