/** `tunesmith serve BUNDLE`: answers requests until it is told to stop. */
import { serving } from '../registry.ts';
import { printLines } from '../report/print.ts';
import { modelFolder } from './model-folder.ts';

interface Options {
  host: string;
  port: number;
  maxNewTokens: number;
  maxTime: number;
}

export default async function serve(bundle: string, { maxNewTokens, maxTime, ...options }: Options): Promise<void> {
  const { serve } = await serving();
  await serve(await modelFolder(bundle), {
    ...options,
    say: (line, stream) => printLines([line], stream),
    limits: { newTokens: maxNewTokens, seconds: maxTime },
  });
}
