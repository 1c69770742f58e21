/** The access log: one line of JSON for each request. It contains no texts: neither bodies nor queries. */
import { createWriteStream, type WriteStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { StepError } from '../../engine/contract/step.ts';
import { infoOf } from './request-info.ts';

export class AccessLog {
  #stream: WriteStream | NodeJS.WriteStream;

  private constructor(
    /** A path, or `-` for standard output. */
    private readonly file: string,
    private readonly warn: (line: string) => void,
    stream: WriteStream | NodeJS.WriteStream,
  ) {
    this.#stream = stream;
  }

  /** @throws StepError if the file cannot be written */
  static async open(file: string, warn: (line: string) => void): Promise<AccessLog> {
    return new AccessLog(file, warn, await streamOf(file));
  }

  /** Opens the file again, after a program such as logrotate has renamed it. */
  async reopen(): Promise<void> {
    if (this.file === '-') return;
    const old = this.#stream;
    try {
      this.#stream = await streamOf(this.file);
      old.end();
    } catch (error) {
      this.warn((error as Error).message);
    }
  }

  /** Writes a line when the response is complete, or the client is gone. */
  follow(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const before = socket.bytesWritten;
    response.once('close', () => {
      const { id, key, time, start } = infoOf(request);
      const length = response.writableFinished ? response.getHeader('content-length') : undefined;
      const line = {
        time: new Date(time).toISOString(),
        id,
        method: request.method,
        path: request.url?.split('?', 1)[0],
        // As nginx logs it: the client has closed the connection before the answer.
        status: response.headersSent ? response.statusCode : 499,
        seconds: Number(((performance.now() - start) / 1000).toFixed(6)),
        bytes: length === undefined ? socket.bytesWritten - before : Number(length),
        ...(key !== undefined && { key }),
      };
      this.#stream.write(`${JSON.stringify(line)}\n`);
    });
  }

  async close(): Promise<void> {
    const stream = this.#stream;
    if (this.file !== '-') await new Promise<void>((resolve) => stream.end(resolve));
  }
}

async function streamOf(file: string): Promise<WriteStream | NodeJS.WriteStream> {
  if (file === '-') return process.stdout;
  const stream = createWriteStream(file, { flags: 'a', mode: 0o640 });
  await new Promise<void>((resolve, reject) => {
    stream.once('open', () => resolve());
    stream.once('error', (error) =>
      reject(new StepError(`the access log ${file} cannot be written: ${error.message}`, 'Give another file with --access-log.')),
    );
  });
  // A full disk must not end the server.
  stream.on('error', () => {});
  return stream;
}
