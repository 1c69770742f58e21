/** The thread behind `digest.ts`: one job at a time. */
import { parentPort } from 'node:worker_threads';
import { type DigestJob, type DigestReply, digestBytes } from './digest.ts';

parentPort!.on('message', ({ from, to }: DigestJob) => {
  parentPort!.postMessage(answer(from, to));
});

function answer(from: string, to: string | undefined): DigestReply {
  try {
    return { hash: digestBytes(from, to) };
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return { failure: { message, code } };
  }
}
