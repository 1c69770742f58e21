/** Where a server listens. */
import type { AddressInfo, Server } from 'node:net';
import { StepError } from '../../engine/contract/step.ts';

/** @throws StepError if the address cannot be used */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = `port ${port} on ${host}`;
      const known: Record<string, StepError> = {
        EADDRINUSE: new StepError(`${place} is in use`, 'Choose another with --port, or --port 0 for any free one.'),
        EACCES: new StepError(`${place} needs more privileges than this user has`, 'Choose a port of at least 1024.'),
        EADDRNOTAVAIL: new StepError(
          `${host} is not an address of this machine`,
          'Choose another with --host: 127.0.0.1, or 0.0.0.0 for all.',
        ),
        ENOTFOUND: new StepError(`${host} is not a known host`, 'Choose another with --host: 127.0.0.1, or 0.0.0.0 for all.'),
      };
      reject(known[error.code ?? ''] ?? error);
    });
    server.listen(port, host, resolve);
  });
}

export function urlOf(server: Server, host: string, scheme: 'http' | 'https'): string {
  const { port } = server.address() as AddressInfo;
  const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${scheme}://${reachable}:${port}`;
}
