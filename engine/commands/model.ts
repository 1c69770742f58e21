/** The model of `predict`, `serve` and `generate`: a folder, or an address (docs/remote.md), which is downloaded without a project. */

import { homedir } from 'node:os';
import { join } from 'node:path';
import { openCache } from '../../cache/open.ts';
import { generation, prediction, serving } from '../../steps/registry.ts';
import { maybeMany, readAddress } from '../contract/address.ts';
import { usage } from '../contract/errors.ts';
import { RemoteSources } from '../fetch/fetch.ts';
import type { FetchProgress } from '../fetch/fetched-store.ts';
import { inJsonLines, printable, printLines, resultOutput } from '../format/terminal-text.ts';
import { bytes as bytesOf } from '../format/text.ts';
import type { ServeFlags } from './serving-options.ts';

export async function modelFolder(given: string): Promise<string> {
  const address = readAddress(given);
  if (!address) return given;
  if ('mistake' in address) throw usage(address.mistake, address.hint);
  if (maybeMany(address)) throw usage(`${given} may be several files`, 'A model is one folder, for example hf://owner/name@revision');
  const { TUNESMITH_CACHE, TUNESMITH_HOME, XDG_DATA_HOME } = process.env;
  const own = TUNESMITH_HOME || join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'tunesmith');
  const folder = TUNESMITH_CACHE || join(own, 'cache');
  const cache = openCache(folder);
  try {
    const sources = new RemoteSources({ folder: join(folder, 'sources'), fileHashes: cache.fileHashes, readOnly: false, notice: say });
    const [fetched] = await sources.fetch(await sources.pin(address), downloadProgress(given));
    return fetched!.path;
  } finally {
    cache.close();
  }
}

/** Ctrl-C ends the process. The next call resumes the download. */
function downloadProgress(address: string): FetchProgress {
  let [done, total] = [0, 0];
  const show = percentage();
  return {
    signal: new AbortController().signal,
    log: say,
    expect(bytes, files) {
      total += bytes;
      say(`downloading ${address}: ${files === 1 ? '1 file' : `${files} files`}, ${bytesOf(bytes)}`);
    },
    onBytes(count) {
      done += count;
      show(done, total);
    },
    onWait(pid) {
      if (pid !== process.pid) say(`waiting for process ${pid}, which is downloading the same files`);
    },
  };
}

/** Shows how much has been transferred, on a terminal. */
export function percentage(): (done: number, total: number) => void {
  let shown = 0;
  return (done, total) => {
    const percent = Math.floor((100 * done) / Math.max(1, total));
    if (percent === shown || !process.stderr.isTTY) return;
    shown = percent;
    process.stderr.write(`\r${percent} %${done >= total ? '\r\x1b[K' : ''}`);
  };
}

/** Writes to stderr, because stdout holds the output of the command. */
export function say(message: string): void {
  printLines([message], process.stderr);
}

/* `tunesmith serve BUNDLE`: answers HTTP requests until a signal stops it. */

export async function serve(bundle: string, { maxCharacters, maxNewTokens, maxTime, ...options }: ServeFlags): Promise<void> {
  if (options.recordShare !== undefined && options.record === undefined)
    throw usage('--record-share applies only with --record', 'Give the folder for the records: --record DIR');
  if (options.shadowShare !== undefined && options.shadow === undefined)
    throw usage('--shadow-share applies only with --shadow', 'Give the second bundle: --shadow BUNDLE');
  const { serve } = await serving();
  const limits = { characters: maxCharacters, newTokens: maxNewTokens, seconds: maxTime };
  const shadow = options.shadow === undefined ? {} : { shadow: await modelFolder(options.shadow) };
  await serve(await modelFolder(bundle), { ...options, ...shadow, limits, say: (line, stream) => printLines([line], stream) });
}

/* `tunesmith predict BUNDLE FILE`: prints one line for each input, in order. */

export async function predict(
  bundle: string,
  file: string,
  options: NonNullable<Parameters<Awaited<ReturnType<typeof prediction>>['predict']>[2]>,
): Promise<void> {
  const { predict } = await prediction();
  await predict(await modelFolder(bundle), file, options, resultOutput(options.outputFormat === 'csv' ? printable : inJsonLines));
}

/* `tunesmith generate MODEL "PROMPT"` streams the text. With --file, it prints one JSON line for each prompt, in order. */

type Reading = Omit<Parameters<Awaited<ReturnType<typeof generation>>['generateAll']>[3], 'batchSize' | 'threads'>;

interface GenerateFlags extends Reading {
  file?: string;
  batchSize: number;
  threads?: number;
  [option: string]: unknown;
}

export async function generate(model: string, [prompt, ...more]: string[], options: GenerateFlags): Promise<void> {
  const { file, batchSize, threads, format, column, delimiter, encoding, ...others } = options;
  const reading = Object.fromEntries(Object.entries({ format, column, delimiter, encoding }).filter(([, value]) => value !== undefined));
  if ((prompt === undefined) === (file === undefined))
    throw usage(
      prompt === undefined
        ? 'generate needs a prompt or a file of prompts'
        : 'generate takes either a prompt or a file of prompts, not both',
      `For example: tunesmith generate ${model} "Once upon a time"`,
    );
  const [needless] = file === undefined ? Object.keys(reading) : [];
  if (needless !== undefined)
    throw usage(`--${needless} applies only to a file of prompts`, 'Give the file with --file, or leave the option out.');
  if (more.length > 0)
    throw usage('the prompt consists of several arguments', `Quote it: tunesmith generate ${model} "${[prompt, ...more].join(' ')}"`);
  const generationOptions = Object.fromEntries(Object.entries(others).map(([name, value]) => [snake(name), value]));
  const folder = await modelFolder(model);
  const { generateOne, generateAll } = await generation();
  if (file === undefined) await generateOne(folder, prompt!, generationOptions, { threads }, resultOutput(printable));
  else await generateAll(folder, file, generationOptions, { batchSize, threads, ...reading }, resultOutput(inJsonLines));
}

/** maxNewTokens → max_new_tokens, the name in generation_config.json. */
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
