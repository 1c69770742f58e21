/**
 * Where `tunesmith setup tensorflow` installs `@tensorflow/tfjs-node-gpu`: outside of any project, so that `npm ci` does not
 * undo it. Not in `~/.tunesmith`: a folder of that name marks the root of a project.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function tensorflowFolder(): string {
  const { TUNESMITH_HOME, XDG_DATA_HOME } = process.env;
  return join(TUNESMITH_HOME || join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'tunesmith'), 'tensorflow');
}

/** In that folder, to be loaded before TensorFlow: it keeps what is no error off the screen. */
export const QUIET_LIBRARY = 'quiet.node';
