/** `tunesmith predict BUNDLE FILE`: one JSON line for each text, in order. */
import { serving } from '../registry.ts';
import { modelFolder } from './model-folder.ts';

export default async function predict(
  bundle: string,
  file: string,
  options: { format?: 'jsonl' | 'csv' | 'lines'; column?: string },
): Promise<void> {
  const { predict } = await serving();
  await predict(await modelFolder(bundle), file, options);
}
