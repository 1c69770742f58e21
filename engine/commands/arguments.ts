/**
 * Refuses arguments that are not UTF-8. Node decodes arguments as UTF-8 and replaces invalid bytes by U+FFFD, which would
 * silently change parameters and paths.
 */

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { escaped } from '../../cache/content.ts';
import { InvalidError } from '../errors.ts';

/** Throws InvalidError for an argument that is not UTF-8, on systems that provide its bytes. */
export function refuseOtherEncodings(decoded: string[]): void {
  if (!decoded.some((argument) => argument.includes('\ufffd'))) return;
  const all = rawArguments();
  const wrong = all.findIndex((argument) => !isUtf8(argument));
  if (wrong < 0) return;
  const flag = all[wrong - 1]?.toString() ?? '';
  const name = `${flag.startsWith('-') ? `${flag} ` : ''}${escaped(all[wrong]!)}`;
  throw new InvalidError([
    {
      file: '',
      line: 0,
      column: 0,
      length: 0,
      message: `the argument ${name} is not UTF-8`,
      hint: 'Set the terminal to UTF-8, or give parameters in a file: --params FILE.',
    },
  ]);
}

function rawArguments(): Buffer[] {
  try {
    const all = readFileSync('/proc/self/cmdline');
    const args: Buffer[] = [];
    for (let start = 0, end = all.indexOf(0); end >= 0; start = end + 1, end = all.indexOf(0, start)) args.push(all.subarray(start, end));
    return args;
  } catch {
    return []; // not available on this system
  }
}
