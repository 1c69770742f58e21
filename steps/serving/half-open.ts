/**
 * A client may close its side of the connection once its request is sent, and still wait for the answer (`nc -N`, Go's and Python's
 * CloseWrite). On the network that looks just as if it had gone. So whoever closed its side is asked, each second for as long as it
 * waits: HTTP allows interim answers before the answer, and a machine whose client has gone replies that nobody takes them.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export function keepHalfOpen(server: Server): void {
  // Undocumented; without it Node closes a connection as soon as the client has closed its side.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  const pending = new Map<Socket, ServerResponse>();
  server.on('request', ({ socket, httpVersion }, response) => {
    // HTTP/1.0 knows no interim answers.
    if (!pending.has(socket) && httpVersion !== '1.0') socket.once('end', () => ask(socket));
    pending.set(socket, response);
  });
  server.on('connection', (socket) => socket.once('close', () => pending.delete(socket)));

  function ask(socket: Socket) {
    const timer = setInterval(() => {
      const response = pending.get(socket);
      // A stream finds out by itself.
      if (response && !response.headersSent && !response.writableEnded) response.writeProcessing();
    }, interval).unref();
    socket.once('close', () => clearInterval(timer));
  }
}

const interval = 1000;
