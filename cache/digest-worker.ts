/** The thread behind `digest.ts`: one job at a time. */
import { parentPort } from 'node:worker_threads';
import { type Answer, digestBytes, type Job } from './digest.ts';

parentPort!.on('message', ({ from, to }: Job) => {
  parentPort!.postMessage(answer(from, to));
});

function answer(from: string, to: string | undefined): Answer {
  try {
    return { digest: digestBytes(from, to) };
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return { failure: { message, code } };
  }
}
