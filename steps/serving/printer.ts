/** Writes at the reader's pace. False once nobody reads any more (`| head`): no mistake, and nothing left to do. */
import type { Writable } from 'node:stream';

export function printer(output: Writable): (text: string) => Promise<boolean> {
  output.on('error', () => {}); // also told to the write that met it
  return async (text) => {
    if (text === '') return true;
    const error = await new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => output.write(text, resolve));
    if (error && error.code !== 'EPIPE') throw error;
    return !error;
  };
}
