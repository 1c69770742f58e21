/** `tunesmith predict BUNDLE FILE`: prints one line for each input, in order. */
import { inJson } from '../printable.ts';
import { serving } from '../registry.ts';
import { resultOutput } from '../report/print.ts';
import { modelFolder } from './model-folder.ts';

export default async function predict(
  bundle: string,
  file: string,
  options: NonNullable<Parameters<Awaited<ReturnType<typeof serving>>['predict']>[2]>,
): Promise<void> {
  const { predict } = await serving();
  await predict(await modelFolder(bundle), file, options, resultOutput(inJson));
}
