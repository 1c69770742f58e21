/** `tunesmith serve BUNDLE`: answers HTTP requests until a signal stops it. */
import { serving } from '../registry.ts';
import { printLines } from '../report/print.ts';
import { modelFolder } from './model-folder.ts';

interface Options {
  host: string;
  port: number;
  allowHost?: string[];
  allowOrigin?: string[];
  maxCharacters: number;
  maxNewTokens: number;
  maxTime: number;
}

export default async function serve(bundle: string, { maxCharacters, maxNewTokens, maxTime, ...options }: Options): Promise<void> {
  const { serve } = await serving();
  const limits = { characters: maxCharacters, newTokens: maxNewTokens, seconds: maxTime };
  await serve(await modelFolder(bundle), { ...options, limits, say: (line, stream) => printLines([line], stream) });
}
