/** `tunesmith serve BUNDLE`: answers requests until it is told to stop. */
import { serving } from '../registry.ts';

interface Options {
  host: string;
  port: number;
  maxNewTokens: number;
  maxTime: number;
}

export default async function serve(bundle: string, { maxNewTokens, maxTime, ...options }: Options): Promise<void> {
  const { serve } = await serving();
  await serve(bundle, { ...options, limits: { newTokens: maxNewTokens, seconds: maxTime } });
}
