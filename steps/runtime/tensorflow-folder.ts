/** Where `tunesmith setup tensorflow` installs `@tensorflow/tfjs-node-gpu`: outside of any project, so that `npm ci` does not undo it. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function tensorflowFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tunesmith', 'tensorflow');
}
