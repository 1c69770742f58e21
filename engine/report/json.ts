/** Every event as one line of JSON. */
import type { Reporter } from './reporter.ts';

export function jsonReporter(): Reporter {
  return {
    emit: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
    stopping() {},
    close() {},
  };
}
