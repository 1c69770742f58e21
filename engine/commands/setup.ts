/** `tunesmith setup tensorflow`: installs what npm cannot. */
import { constants } from 'node:os';
import { setup as setups } from '../registry.ts';
import { duration } from '../report/text.ts';
import { interruptions } from './interruptions.ts';
import { usage } from './pipeline-file.ts';

export default async function setup(what: string, { cuda = false }: { cuda?: boolean }): Promise<number> {
  if (what !== 'tensorflow') throw usage(`"${what}" cannot be set up`, 'tunesmith setup tensorflow');
  const began = performance.now();
  const say = (line: string) => process.stdout.write(`${duration((performance.now() - began) / 1000).padStart(7)}  ${line}\n`);
  const interrupted = interruptions(() => say('stopping…'));
  try {
    const { setUpTensorflow } = await setups();
    await setUpTensorflow(cuda ? 'cuda' : 'cpu', say, interrupted.signal);
    return 0;
  } catch (error) {
    if (!interrupted.by) throw error;
    say('undone; what was downloaded is kept, and the same command goes on');
    return 128 + constants.signals[interrupted.by];
  } finally {
    interrupted.release();
  }
}
