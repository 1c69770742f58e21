/**
 * The tokenizer.json of a model folder: the file itself with the settings of tokenizer_config.json, or one made from
 * vocab.txt (WordPiece) or from vocab.json and merges.txt (byte-level BPE), as transformers does for older folders of
 * BERT, DistilBERT, RoBERTa and GPT-2.
 */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { StepError } from '../../../engine/contract/step.ts';
import { readJson, readText } from './json.ts';

/** @throws StepError if the folder has no tokenizer, or one that only Python can convert */
export async function tokenizerJson(folder: string): Promise<string> {
  const json = await findTokenizerJson(folder);
  if (json === undefined) throw missing(folder);
  return json;
}

/** Undefined if the folder has none. */
export async function findTokenizerJson(folder: string): Promise<string | undefined> {
  const file = path.join(folder, 'tokenizer.json');
  if (existsSync(file)) return asConfigured(await readText(file), await optionsOf(folder));
  const has = (name: string) => existsSync(path.join(folder, name));
  if (has('vocab.txt')) return JSON.stringify(await wordPiece(folder));
  if (has('vocab.json') && has('merges.txt')) return JSON.stringify(await byteLevel(folder));
  return undefined;
}

/**
 * tokenizer_config.json overrides the options with which transformers' classes build their tokenizer, whatever
 * tokenizer.json was saved with. A class that only reads tokenizer.json, such as PreTrainedTokenizerFast, has none.
 */
function asConfigured(json: string, options: Record<string, any>): string {
  const given = CONFIGURED.filter(({ option }) => typeof options[option] === 'boolean');
  if (given.length === 0 || !CLASSES.test(options.tokenizer_class ?? 'BertTokenizer')) return json;
  let tokenizer: Record<string, any>;
  try {
    tokenizer = JSON.parse(json);
  } catch {
    return json; // opening it reports the problem
  }
  let changed = false;
  for (const { option, part, type, field, no = false, yes = true } of given) {
    const whole = tokenizer?.[part];
    for (const one of whole?.type === 'Sequence' ? (whole.pretokenizers ?? []) : [whole]) {
      const wanted = options[option] ? yes : no;
      // A Metaspace without the field prepends a space.
      if (one?.type !== type || (one[field] ?? (type === 'Metaspace' ? yes : undefined)) === wanted) continue;
      one[field] = wanted;
      changed = true;
    }
  }
  return changed ? JSON.stringify(tokenizer) : json;
}

/** `no` and `yes`: the values of the field for an option that is false or true. */
const CONFIGURED: { option: string; part: string; type: string; field: string; no?: string; yes?: string }[] = [
  { option: 'do_lower_case', part: 'normalizer', type: 'BertNormalizer', field: 'lowercase' },
  { option: 'strip_accents', part: 'normalizer', type: 'BertNormalizer', field: 'strip_accents' },
  { option: 'tokenize_chinese_chars', part: 'normalizer', type: 'BertNormalizer', field: 'handle_chinese_chars' },
  { option: 'add_prefix_space', part: 'pre_tokenizer', type: 'ByteLevel', field: 'add_prefix_space' },
  { option: 'add_prefix_space', part: 'pre_tokenizer', type: 'Metaspace', field: 'prepend_scheme', no: 'never', yes: 'always' },
  { option: 'add_prefix_space', part: 'decoder', type: 'Metaspace', field: 'prepend_scheme', no: 'never', yes: 'always' },
];

const CLASSES = /^(Bert|DistilBert|Electra|Roberta|GPT2|XLMRoberta|Camembert|Albert)Tokenizer(Fast)?$/;

/** As in transformers' BertTokenizer. */
async function wordPiece(folder: string) {
  const words = (await readText(path.join(folder, 'vocab.txt'))).replace(/\r?\n$/, '').split(/\r?\n/);
  const vocabulary = new Map(words.map((word, id) => [word, id]));
  const options = await optionsOf(folder);
  const special = specialTokens(options, { unk: '[UNK]', sep: '[SEP]', pad: '[PAD]', cls: '[CLS]', mask: '[MASK]' });
  const [cls, sep] = [special.cls!.content, special.sep!.content];
  const ends = [cls, sep].map((token) => [token, { id: token, ids: [idOf(vocabulary, token, 'vocab.txt')], tokens: [token] }]);
  const [first, last] = [cls, sep].map((id) => ({ SpecialToken: { id, type_id: 0 } }));
  const [a, b] = ['A', 'B'].map((id, type_id) => ({ Sequence: { id, type_id } }));
  return {
    version: '1.0',
    added_tokens: await addedTokens(folder, vocabulary, special, options),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: options.tokenize_chinese_chars ?? true,
      strip_accents: options.strip_accents ?? null,
      lowercase: options.do_lower_case ?? true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [first, a, last],
      pair: [first, a, last, b, { SpecialToken: { id: sep, type_id: 1 } }],
      special_tokens: Object.fromEntries(ends),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: special.unk!.content,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocabulary),
    },
  };
}

/** As in transformers' GPT2Tokenizer, or RobertaTokenizer if the vocabulary marks the beginning and end of texts. */
async function byteLevel(folder: string) {
  const vocabulary = new Map(Object.entries((await readJson(path.join(folder, 'vocab.json'))) as Record<string, number>));
  const merges = (await readText(path.join(folder, 'merges.txt')))
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#version'));
  const options = await optionsOf(folder);
  const add_prefix_space = options.add_prefix_space ?? false;
  const roberta = vocabulary.has('<s>') && vocabulary.has('</s>');
  const special = specialTokens(
    options,
    roberta
      ? { bos: '<s>', eos: '</s>', sep: '</s>', cls: '<s>', unk: '<unk>', pad: '<pad>', mask: '<mask>' }
      : { unk: '<|endoftext|>', bos: '<|endoftext|>', eos: '<|endoftext|>' },
  );
  const withId = ({ content }: AddedToken) => [content, idOf(vocabulary, content, 'vocab.json')];
  return {
    version: '1.0',
    added_tokens: await addedTokens(folder, vocabulary, special, options),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space, trim_offsets: true, use_regex: true },
    post_processor: roberta
      ? { type: 'RobertaProcessing', sep: withId(special.sep!), cls: withId(special.cls!), trim_offsets: true, add_prefix_space }
      : null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(vocabulary),
      merges,
    },
  };
}

/** tokenizer_config.json, completed by special_tokens_map.json of older folders. */
async function optionsOf(folder: string): Promise<Record<string, any>> {
  const options = {};
  for (const name of ['special_tokens_map.json', 'tokenizer_config.json']) {
    const file = path.join(folder, name);
    if (existsSync(file)) Object.assign(options, await readJson(file));
  }
  return options;
}

interface AddedToken {
  content: string;
  lstrip?: boolean;
  rstrip?: boolean;
  single_word?: boolean;
  normalized?: boolean;
}

/** By role, `unk`, `sep` …; the options set some, the family the others. */
function specialTokens(options: Record<string, any>, usual: Record<string, string>): Record<string, AddedToken | undefined> {
  const roles = Object.entries({ pad: undefined, ...usual });
  return Object.fromEntries(roles.map(([role, content]) => [role, tokenOf(options[`${role}_token`] ?? content)]));
}

/** Written as a string or as an object. */
const tokenOf = (given: string | AddedToken | undefined): AddedToken | undefined =>
  typeof given === 'string' ? { content: given } : given;

/**
 * Tokens that are found before a text is split into words; those beyond the vocabulary have their ids in
 * added_tokens.json. A token without an id has no row in the model's embedding, and is ignored.
 */
async function addedTokens(
  folder: string,
  vocabulary: Map<string, number>,
  special: Record<string, AddedToken | undefined>,
  { additional_special_tokens, extra_special_tokens }: Record<string, any>,
) {
  const file = path.join(folder, 'added_tokens.json');
  const behind = existsSync(file) ? ((await readJson(file)) as Record<string, number>) : {};
  // Special without a role; the second name is that of transformers 5.
  const others: (AddedToken | undefined)[] = [additional_special_tokens, extra_special_tokens].filter(Array.isArray).flat().map(tokenOf);
  const specials = new Map([...Object.values(special), ...others].flatMap((token) => (token ? [[token.content, token]] : [])));
  const ids = new Map(Object.entries(behind));
  for (const content of specials.keys()) if (!ids.has(content) && vocabulary.has(content)) ids.set(content, vocabulary.get(content)!);
  return [...ids]
    .sort(([, a], [, b]) => a - b)
    .map(([content, id]) => ({
      id,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: !specials.has(content),
      ...pick(specials.get(content)),
      content,
      special: specials.has(content),
    }));
}

/** The fields of an added token; a config has more, such as `__type`. */
function pick({ lstrip, rstrip, single_word, normalized }: Partial<AddedToken> = {}) {
  const said = { lstrip, rstrip, single_word, normalized };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
}

function idOf(vocabulary: Map<string, number>, token: string, file: string): number {
  const id = vocabulary.get(token);
  if (id === undefined)
    throw new StepError(
      `${file} has no ${token}, a special token of every sequence`,
      'Declare the special tokens in tokenizer_config.json.',
    );
  return id;
}

/** Tokenizer files that only Python can convert to a tokenizer.json. */
const FOREIGN_FILES = ['vocab.json', 'spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model'];

function missing(folder: string): StepError {
  const name = path.basename(folder);
  const foreign = FOREIGN_FILES.find((file) => existsSync(path.join(folder, file)));
  if (!foreign)
    return new StepError(`the model folder ${name} has no tokenizer.json`, 'Copy the tokenizer.json of the model into the folder.');
  return new StepError(
    `the model folder ${name} has ${foreign} but no tokenizer.json`,
    'Convert it once with Python: AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes tokenizer.json.',
  );
}

/**
 * How the tokenizer of one folder differs from that of another, in words; undefined if both make the same tokens of
 * every text. Truncation and padding, which callers set, and the decoder do not count.
 */
export async function tokenizerDifference(folder: string, from: string): Promise<string | undefined> {
  const [own, other] = await Promise.all([folder, from].map(async (each) => JSON.parse(await tokenizerJson(each)) as Record<string, any>));
  const [vocabulary, others] = [idsOf(own!), idsOf(other!)];
  if (vocabulary.size !== others.size) return `it has ${vocabulary.size} tokens instead of ${others.size}`;
  for (const [token, id] of vocabulary)
    if (others.get(token) !== id) return `its token ${id} is ${JSON.stringify(token)}, which the other has ${placeOf(others.get(token))}`;
  const parts = ['normalizer', 'pre_tokenizer', 'post_processor', 'added_tokens', 'model'];
  const part = parts.find((name) => !isDeepStrictEqual(own![name] ?? null, other![name] ?? null));
  return part && `its ${part} differs (tokenizer.json)`;
}

/**
 * The ids of the tokens that continue a word, by the tokenizer's marks: WordPiece's ## continues one; byte-level BPE
 * and SentencePiece mark the space before one. Undefined if it has no such marks.
 */
export async function wordContinuations(folder: string): Promise<Set<number> | undefined> {
  const tokenizer = JSON.parse(await tokenizerJson(folder)) as Record<string, any>;
  const { model, decoder } = tokenizer;
  // SentencePiece's mark is decoded by Metaspace or, in older files, by a replacement.
  const decoders: unknown[] = [decoder, ...(decoder?.decoders ?? [])].map((each) => each?.pattern?.String ?? each?.type);
  const continues =
    model?.type === 'WordPiece'
      ? (token: string) => token.startsWith(model.continuing_subword_prefix ?? '##')
      : decoders.includes('ByteLevel')
        ? (token: string) => !BYTES_OF_SPACE.test(token)
        : decoders.includes('Metaspace') || decoders.includes('▁')
          ? (token: string) => !token.startsWith('▁')
          : undefined;
  return continues && new Set([...idsOf(tokenizer)].filter(([token]) => continues(token)).map(([, id]) => id));
}

/** Space, tab, line feed and carriage return, as byte-level BPE writes them. */
const BYTES_OF_SPACE = /^[ĠĉĊč]/;

const placeOf = (id: number | undefined): string => (id === undefined ? 'not at all' : `as ${id}`);

/** The ids of all tokens; a Unigram vocabulary is a list. */
function idsOf({ model, added_tokens = [] }: Record<string, any>): Map<string, number> {
  const vocabulary: Record<string, number> | [string, number][] = model?.vocab ?? {};
  const own = Array.isArray(vocabulary) ? vocabulary.map(([token], id) => [token, id] as const) : Object.entries(vocabulary);
  return new Map([...own, ...(added_tokens as { content: string; id: number }[]).map(({ content, id }) => [content, id] as const)]);
}
