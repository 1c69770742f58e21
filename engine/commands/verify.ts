/** `tunesmith verify [FILE] [CELL…]`: runs cells again in a clean folder and compares their outputs with the lockfile. */

import { constants } from 'node:os';
import { usage } from '../contract/errors.ts';
import { colorsFor, printableJson, printLines } from '../format/terminal-text.ts';
import { count, duration, outputLine } from '../format/text.ts';
import { comparedWith, type Verified, verifyPipeline } from '../run/verify.ts';
import { interruptions } from './exit-code.ts';
import { choosePipeline, fileAmong, openPipeline, type PipelineOptions } from './pipeline-file.ts';

export default async function verify(
  words: string[],
  { cells, seed = Math.floor(Math.random() * 1e6), json, ...options }: PipelineOptions & { cells: number; seed?: number; json?: boolean },
): Promise<number> {
  const { file: named, rest } = fileAmong(words);
  const file = await choosePipeline(named, { executes: true });
  const pipeline = await openPipeline(file, options);
  const colors = colorsFor(process.stdout);
  const print = (line: string) => printLines([line]);
  const interrupted = interruptions(() => json || print('stopping…'));
  const all: Verified[] = [];
  if (!json && rest.length === 0) print(colors.dim(`cells chosen with --seed ${seed}, compared with ${comparedWith(pipeline)}`));
  try {
    await verifyPipeline(pipeline, { words: rest, count: cells, seed, signal: interrupted.signal }, (verified) => {
      all.push(verified);
      if (json) return print(printableJson({ type: 'verified', ...verified }));
      const { cell, state, seconds, why, tail = [] } = verified;
      const time = colors.dim(duration(seconds));
      print(state === 'same' ? `${colors.green('✔')} ${cell}  ${time}  identical outputs` : `${colors.red('✖')} ${cell}  ${time}  ${why}`);
      for (const line of tail) print(`    ${outputLine(line)}`);
    });
  } finally {
    interrupted.release();
  }
  if (interrupted.by) return 128 + constants.signals[interrupted.by];
  if (all.length === 0) throw usage('there is nothing to verify, because no cell has a result yet', `Run it first: tunesmith run ${file}`);
  const wrong = all.filter(({ state }) => state !== 'same').length;
  if (!json) print(wrong === 0 ? `${count(all.length, 'cell')} verified` : `${wrong} of ${count(all.length, 'cell')} not verified`);
  return wrong === 0 ? 0 : 1;
}
