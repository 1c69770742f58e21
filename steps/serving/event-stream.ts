/** Responses that are server-sent events. The work stops when the client stops reading. */
import type { Context } from 'hono';
import { StepError } from '../../engine/contract/step.ts';
import { RequestRefusal } from './limits.ts';
import { infoOf } from './request-info.ts';
import type { ServedModel } from './served-model.ts';

interface EventWork {
  /** Sends events; `signal` is aborted when the client disconnects. */
  work(send: Send, signal: AbortSignal): Promise<void>;
  /** Sends the error that ended the work. */
  fail(send: Send, message: string): void;
}

/** An event: its data, and its name if it has one. */
export type Send = (data: string, event?: string) => void;

export function eventStream(c: Context, model: Pick<ServedModel, 'report'>, { work, fail }: EventWork): Response {
  const gone = new AbortController();
  const hangUp = () => gone.abort(new Error('the client has disconnected'));
  c.req.raw.signal.addEventListener('abort', hangUp, { once: true });
  const stream = new ReadableStream<Uint8Array>({
    async start(controller) {
      const send: Send = (data, event) => {
        if (!gone.signal.aborted) controller.enqueue(Buffer.from(`${event === undefined ? '' : `event: ${event}\n`}data: ${data}\n\n`));
      };
      try {
        await work(send, gone.signal);
      } catch (error) {
        const mistake = error instanceof StepError || error instanceof RequestRefusal;
        if (!mistake && !gone.signal.aborted) model.report(error as Error, infoOf(c.env.incoming).id);
        fail(send, mistake ? error.message : 'internal error; see the log of the server');
      }
      if (!gone.signal.aborted) controller.close();
    },
    cancel: hangUp,
  });
  return c.body(stream, 200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
}
