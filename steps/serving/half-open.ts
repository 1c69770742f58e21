/**
 * Detects clients that are gone. A client may close its side of the connection after sending its request and still
 * wait for the response (`nc -N`, Go's and Python's CloseWrite). On the network that looks as if it had disconnected.
 * So the server sends such a client an interim response every second while it waits: HTTP allows them, and the
 * machine of a client that is gone replies with a reset.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export function keepHalfOpen(server: Server): void {
  // Undocumented; without it Node closes a connection as soon as the client has closed its side.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  const pending = new Map<Socket, ServerResponse>();
  server.on('request', ({ socket, httpVersion }, response) => {
    // HTTP/1.0 has no interim responses.
    if (!pending.has(socket) && httpVersion !== '1.0') socket.once('end', () => ask(socket));
    pending.set(socket, response);
  });
  server.on('connection', (socket) => socket.once('close', () => pending.delete(socket)));

  function ask(socket: Socket) {
    const timer = setInterval(() => {
      const response = pending.get(socket);
      // A stream detects it by itself.
      if (response && !response.headersSent && !response.writableEnded) response.writeProcessing();
    }, interval).unref();
    socket.once('close', () => clearInterval(timer));
  }
}

const interval = 1000;
