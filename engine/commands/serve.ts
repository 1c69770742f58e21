/** `tunesmith serve BUNDLE`: answers requests until it is told to stop. */
import { serving } from '../registry.ts';

export default async function serve(bundle: string, options: { host: string; port: number }): Promise<void> {
  const { serve } = await serving();
  await serve(bundle, options);
}
