/** generation_config.json of a model folder: how texts are written with the model, as transformers keeps it. */
import { existsSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';

/** A model that is trained further, or bundled, is generated with as before, if its folder says how. */
export async function copyGenerationConfig(from: string, to: string): Promise<void> {
  const file = path.join(from, 'generation_config.json');
  if (existsSync(file)) await copyFile(file, path.join(to, 'generation_config.json'));
}
