/** `tunesmith setup tensorflow`: installs what npm cannot. */

import { constants } from 'node:os';
import { setup as setups } from '../registry.ts';
import { printLines } from '../report/print.ts';
import { duration } from '../report/text.ts';
import { interruptions } from './interruptions.ts';
import { usage } from './pipeline-file.ts';

export default async function setup(what: string, { gpu = false, cpu = false }: { gpu?: boolean; cpu?: boolean }): Promise<number> {
  if (what !== 'tensorflow') throw usage(`setup cannot install "${what}"`, 'tunesmith setup tensorflow');
  if (gpu && cpu) throw usage('--gpu and --cpu cannot be used together', 'tunesmith setup tensorflow [--gpu | --cpu]');
  const began = performance.now();
  const say = (line: string) => printLines([`${duration((performance.now() - began) / 1000).padStart(7)}  ${line}`]);
  const interrupted = interruptions(() => say('stopping…'));
  try {
    const { setUpTensorflow } = await setups();
    await setUpTensorflow(gpu ? 'cuda' : cpu ? 'cpu' : undefined, say, interrupted.signal);
    return 0;
  } catch (error) {
    if (!interrupted.by) throw error;
    say('interrupted; run the same command again to resume the download');
    return 128 + constants.signals[interrupted.by];
  } finally {
    interrupted.release();
  }
}
