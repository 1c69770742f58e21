/** `tunesmith generate MODEL "PROMPT"` streams the text. With --file, it prints one JSON line for each prompt, in order. */
import { inJson, printable } from '../printable.ts';
import { generation } from '../registry.ts';
import { resultOutput } from '../report/print.ts';
import { modelFolder } from './model-folder.ts';
import { usage } from './pipeline-file.ts';

type Reading = Omit<Parameters<Awaited<ReturnType<typeof generation>>['generateAll']>[3], 'batchSize' | 'threads'>;

interface Options extends Reading {
  file?: string;
  batchSize: number;
  threads?: number;
  [option: string]: unknown;
}

export default async function generate(model: string, [prompt, ...more]: string[], options: Options): Promise<void> {
  const { file, batchSize, threads, earlyStopping, format, column, delimiter, encoding, ...others } = options;
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
  const asked = Object.fromEntries(Object.entries(others).map(([name, value]) => [snake(name), value]));
  if (earlyStopping !== undefined) asked.early_stopping = earlyStopping === 'never' ? 'never' : earlyStopping === 'true';
  const folder = await modelFolder(model);
  const { generateOne, generateAll } = await generation();
  if (file === undefined) await generateOne(folder, prompt!, asked, { threads }, resultOutput(printable));
  else await generateAll(folder, file, asked, { batchSize, threads, ...reading }, resultOutput(inJson));
}

/** maxNewTokens → max_new_tokens, the name in generation_config.json. */
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
