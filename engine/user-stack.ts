/** The stack of an error in a custom step: only frames of the user's code, without Node and tunesmith. */
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Frame {
  /** The function's name; absent at the top level of a module. */
  name?: string;
  /** Absolute. */
  file: string;
  line: number;
  column: number;
}

/** The frames, innermost first, of an error that the step of this module threw. Leaves out installed packages, unless the step is one. */
export function userStack(stack: string | undefined, module: string): Frame[] {
  const isInstalled = (file: string) => file.split(sep).includes('node_modules');
  const frames = (stack ?? '').split('\n').flatMap((line) => frameOf(line) ?? []);
  return frames.filter(({ file }) => isInstalled(module) || !isInstalled(file)).slice(0, MOST_FRAMES);
}

const MOST_FRAMES = 5;

function frameOf(text: string): Frame | undefined {
  const [, called, at] = /^\s+at (?:async )?(?:(.+) \((.+)\)|.+)$/.exec(text) ?? [];
  const place = at ?? text.replace(/^\s+at (async )?/, '');
  const [, url, line, column] = /^(.+):(\d+):(\d+)$/.exec(place) ?? [];
  if (url === undefined || !/^(file:\/\/|\/|[A-Za-z]:[\\/])/.test(url)) return undefined; // a module of Node
  const file = (url.startsWith('file:') ? fileURLToPath(url) : url).replace(/\?.*$/, '');
  if (OURS.some((folder) => file.startsWith(folder))) return undefined;
  const name = called?.replace(/^(Object|Module)\./, '').replace(/ \[as .*\]$/, '');
  return { name: name === '<anonymous>' ? undefined : name, file, line: Number(line), column: Number(column) };
}

const OURS = ['engine', 'cache', 'steps'].map((folder) => fileURLToPath(new URL(`../${folder}/`, import.meta.url)));
