/** Expands `~` as a shell does, in every path: a shell itself does not expand it inside quotes, after `=` and in files. */

import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

/** Expands `~` and `~/x` to the user's home folder. Other paths stay unchanged. */
export function atHome(path: string, home = homedir()): string {
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path;
}

/** Makes environment variables that hold folders absolute, because steps run in other working folders. */
export function makeFoldersAbsolute(env: NodeJS.ProcessEnv): void {
  // An empty or relative HOME would put caches into the working folder. Without HOME, Node asks the system's list of users.
  if (env.HOME !== undefined && !isAbsolute(env.HOME)) delete env.HOME;
  try {
    homedir();
  } catch {
    env.HOME = HOMELESS; // The user is not in the list, as in a container with an arbitrary user id.
  }
  for (const name of ['TUNESMITH_CACHE', 'TUNESMITH_HOME', 'KAGGLE_CONFIG_DIR']) {
    const path = env[name];
    if (path) env[name] = resolve(atHome(path));
  }
  for (const name of ['XDG_DATA_HOME', 'XDG_CACHE_HOME', 'HF_HOME', 'HF_HUB_CACHE']) {
    const path = env[name];
    if (path) env[name] = atHome(path);
  }
}

/** Debian's home folder for users without one. It does not exist and cannot be created. */
const HOMELESS = '/nonexistent';

/** Expands `~` in the arguments and options of a command. `texts`: index of an argument that holds texts, not paths. */
export function pathsAtHome(args: unknown[], texts: number): unknown[] {
  return args.map((arg, i) => {
    if (typeof arg === 'string') return atHome(arg);
    if (Array.isArray(arg)) return i === texts ? arg : arg.map((one) => (typeof one === 'string' ? atHome(one) : one));
    if (arg === null || typeof arg !== 'object') return arg;
    const options = Object.entries(arg).map(([name, value]) => [
      name,
      PATHS.has(name) && typeof value === 'string' ? atHome(value) : value,
    ]);
    return Object.fromEntries(options);
  });
}

const PATHS = new Set(['file', 'params', 'output', 'out', 'tensorboard']);
