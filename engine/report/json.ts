/** Prints every event as one line of JSON. */
import { printableJson } from '../format/terminal-text.ts';
import type { Reporter } from './reporter.ts';

export function jsonReporter(): Reporter {
  return {
    emit: (event) => process.stdout.write(`${printableJson(event)}\n`),
    stopping() {},
    close() {},
  };
}
