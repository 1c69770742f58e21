/**
 * The folder into which `tunesmith setup tensorflow` installs `@tensorflow/tfjs-node-gpu`: outside of any project, so
 * that `npm ci` does not remove it. It is not in `~/.tunesmith`, because a folder of that name marks the root of a
 * project.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function tensorflowFolder(): string {
  const { TUNESMITH_HOME, XDG_DATA_HOME } = process.env;
  return join(TUNESMITH_HOME || join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'tunesmith'), 'tensorflow');
}

/** A library in that folder, loaded before TensorFlow, which removes messages that are not errors from its log. */
export const QUIET_LIBRARY = 'quiet.node';
