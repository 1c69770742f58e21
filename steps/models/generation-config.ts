/** generation_config.json of a model folder: how the model generates, in transformers' format. */
import { existsSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';

/** Copies the generation settings of a folder, if it has some, to a model that is trained further or bundled. */
export async function copyGenerationConfig(from: string, to: string): Promise<void> {
  const file = path.join(from, 'generation_config.json');
  if (existsSync(file)) await copyFile(file, path.join(to, 'generation_config.json'));
}
