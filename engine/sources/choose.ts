/** Which files of a repository are taken: by a path, by a glob, or, where neither is given, what its kind needs. */
import { extname } from 'node:path/posix';
import { compareBytes } from '../pipeline/cell-name.ts';
import { isGlob } from '../pipeline/glob.ts';
import { StepError } from '../step.ts';
import { didYouMean } from '../suggest.ts';
import type { HubAddress } from './address.ts';
import { matching } from './matching.ts';

interface Chosen {
  files: string[];
  /** What the input is given: folders and files, relative to the repository; '' is all of it. */
  given: string[];
}

/** Throws a StepError where there is nothing to take. `listed`: the paths of all files of the repository. */
export function choose(listed: Iterable<string>, address: HubAddress): Chosen {
  // In one order, whoever listed them: it is that of the rows that are read.
  const names = [...listed].sort(compareBytes);
  const { path, type, text } = address;
  if (names.includes(path)) return { files: [path], given: [path] };
  if (isGlob(path)) {
    const files = matching(names, path);
    if (files.length > 0) return { files, given: files };
    throw new StepError(`nothing in ${repositoryOf(address)} matches ${path}`, didYouMean(path, names, 'its files'));
  }
  if (names.length === 0) throw new StepError(`${repositoryOf(address)} is empty`, 'Is it the right one, at the right revision?');
  const below = path === '' ? names : names.filter((name) => name.startsWith(`${path}/`));
  if (below.length === 0 && path !== '')
    throw new StepError(`there is no ${path} in ${repositoryOf(address)}`, didYouMean(path, names, 'its files'));
  if (type === 'dataset' && path === '') {
    const files = dataFiles(names);
    if (files.length > 0) return { files, given: files };
    throw new StepError(
      `${text}: no Parquet, JSON lines, CSV or text files in it`,
      didYouMean('', names, 'Name its files, as a path or a glob. It has'),
    );
  }
  return { files: type === 'dataset' ? below.filter(isVisible) : modelFiles(below, path, text), given: [path] };
}

/** Files of one format, the first that there is: a table's own, before those that have to be guessed at. */
export function dataFiles(names: string[]): string[] {
  const visible = names.filter((name) => isVisible(name) && !ABOUT.test(name));
  const of = (...extensions: string[]) => visible.filter((name) => extensions.includes(extname(name.replace(/\.gz$/i, '')).toLowerCase()));
  return [of('.parquet'), of('.jsonl', '.ndjson'), of('.json'), of('.csv'), of('.tsv'), of('.txt')].find((found) => found.length > 0) ?? [];
}

/** What tells of the data, and is none. */
const ABOUT = /(^|\/)(dataset_infos?\.json|README\.(md|txt)|LICENSE(\.\w+)?|requirements\.txt)$/i;

/**
 * A model's configuration, tokenizer and weights as safetensors, its licence and README; not the same weights again for
 * other libraries, nor smaller ones. A repository without `config.json` is none of a kind we know: all of it is taken.
 */
function modelFiles(names: string[], folder: string, text: string): string[] {
  const root = folder === '' ? '' : `${folder}/`;
  const own = names.filter((name) => isVisible(name)).map((name) => name.slice(root.length));
  const weights = weightsOf(own);
  const pickles = own.filter((name) => PICKLED.test(name) && !name.includes('/'));
  if (weights.length === 0 && pickles.length > 0) {
    const one = /\.(h5|msgpack|ckpt)$/i.test(pickles[0]!) ? '' : ', a pickle: opening one can run any code';
    throw new StepError(`${text} has its weights only as ${pickles[0]}${one}; what is read is safetensors`, CONVERT);
  }
  if (!own.includes('config.json')) return names.filter(isVisible);
  const taken = own.filter((name) => weights.includes(name) || (TEXTS.test(name) && !TWINS.test(name) && !/\.safetensors$/.test(name)));
  return taken.map((name) => root + name);
}

function weightsOf(names: string[]): string[] {
  // Modules of a sentence encoder have theirs in folders of their own: 2_Dense/model.safetensors.
  const modules = names.filter((name) => /^\d+_\w+\/[^/]+\.safetensors$/.test(name));
  if (names.includes('model.safetensors')) return ['model.safetensors', ...modules];
  const shards = names.filter((name) => /^model-\d+-of-\d+\.safetensors$/.test(name));
  if (names.includes('model.safetensors.index.json') && shards.length > 0) return [...shards, ...modules];
  return [...names.filter((name) => /^[^/]+\.safetensors$/.test(name)), ...modules];
}

const TEXTS = /(\.(json|txt|model|jinja|tiktoken|spm|vocab)|(^|\/)(README\.md|LICENSE(\.\w+)?|NOTICE(\.\w+)?|MODEL_CARD\.md))$/i;
/** The same model for other libraries, states of its training, and the indices of weights that are not taken. */
const TWINS =
  /(^|\/)(onnx|openvino|coreml|tflite|gguf|ggml|mlx|original|runs|logs|checkpoint-[^/]+|global_step[^/]*)\/|\.(bin|h5|msgpack)\.index\.json$|(^|\/)(trainer_state|optimizer)\.json$/i;
const PICKLED =
  /(^|\/)((pytorch_model|model|tf_model|flax_model|adapter_model|diffusion_pytorch_model)[^/]*\.(bin|h5|msgpack|ckpt|pt|pth)|consolidated[^/]*\.pth?)$/i;

const CONVERT = `Let the hub convert it: huggingface.co/spaces/safetensors/convert opens a pull request, written hf://owner/name@refs/pr/1.
Or convert it with Python, and name the folder that holds it:
  import torch; from safetensors.torch import save_file
  weights = torch.load("pytorch_model.bin", weights_only=True)
  save_file({name: w.clone() for name, w in weights.items()}, "model.safetensors", {"format": "pt"})`;

function isVisible(name: string): boolean {
  return !name.split('/').some((part) => part.startsWith('.'));
}

export function repositoryOf({ type, name, revision }: HubAddress): string {
  return `hf://${type === 'dataset' ? 'datasets/' : ''}${name}${revision === undefined ? '' : `@${revision}`}`;
}
