/** A step that counts its attempts in a checkpoint. */
import { engine } from './rig.ts';

/** Counts its attempts in a checkpoint. The file `how` decides how it ends. */
export const COUNT = `import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineStep, StepError } from 'tunesmith';
export default defineStep({
  name: 'count', version: 1,
  options: { word: { type: 'string', default: 'a' } },
  inputs: { data: { kind: 'file', optional: true } },
  outputs: { o: 'file' },
  async run({ checkpoints, folder, outputs, inputs, signal, log }) {
    const file = join(checkpoints, 'count');
    const count = existsSync(file) ? Number(readFileSync(file, 'utf8')) + 1 : 1;
    const how = readFileSync(join(folder, 'how'), 'utf8');
    if (how !== 'no checkpoint') {
      mkdirSync(checkpoints, { recursive: true });
      writeFileSync(file, String(count));
    }
    log('attempt ' + count);
    if (how === 'fail') throw new StepError('not yet');
    if (how === 'edit') {
      writeFileSync(inputs.data, 'edited');
      throw new StepError('not yet');
    }
    if (how === 'wait') await new Promise((_, reject) => {
      setInterval(() => {}, 1000);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
    writeFileSync(outputs.o, String(count));
  },
});`;

export const pipeline = (more = '') => `name: p\nsteps:\n  count: { uses: ./count.mjs, with: { data: data.txt }${more} }\n`;

export const project = (how: string, more?: string) => engine(pipeline(more), { 'count.mjs': COUNT, 'data.txt': 'data', how });

export const OUTPUT = '.tunesmith/outputs/p/count/o';

export const kept = (p: ReturnType<typeof project>) => p.below('.tunesmith/checkpoints').map((name) => name.split('/')[1]);
