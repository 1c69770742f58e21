/**
 * The connections of the server: requests that are not valid HTTP, clients that are gone, and the shutdown. The routes
 * (app.ts) see only requests with valid headers.
 */

import {
  createServer,
  type IncomingMessage,
  maxHeaderSize,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import { PROBLEM, problemOf } from './problem.ts';

/** How long a client may take to send its headers, and its whole request, in milliseconds. */
const patience = { headersTimeout: 20_000, requestTimeout: 60_000, connectionsCheckingInterval: 5_000 };

export class Connections {
  readonly server: Server | TlsServer;
  readonly #draining = new AbortController();
  readonly #late = new AbortController();
  /** The connections whose TLS handshake is not complete, by their address and port. */
  readonly #shaking = new Map<string, Socket>();
  /** The unanswered requests of each connection, in the order of their answers. */
  readonly #pending = new Map<Socket, Set<ServerResponse>>();

  constructor(tls?: SecureContextOptions) {
    // Node refuses a request without a Host header with an empty body; `listener` refuses it with a message.
    const options = { ...patience, requireHostHeader: false };
    this.server = tls ? createTlsServer({ ...options, ...tls, handshakeTimeout: patience.headersTimeout }) : createServer(options);
    // Undocumented; without it Node closes a connection as soon as the client has closed its side.
    (this.server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
    if (tls) {
      this.server.on('connection', (socket) => this.#awaitHandshake(socket));
      this.server.on('secureConnection', (socket) => {
        this.#shaking.delete(addressOf(socket));
        this.#watch(socket);
      });
    } else this.server.on('connection', (socket) => this.#watch(socket));
    this.server.on('request', (request, response) => this.#follow(request, response));
    this.server.on('clientError', (error, socket) => this.#refuseInvalid(error, socket as Socket));
    this.server.on('connect', (_, socket) => refuse(socket, 405, 'CONNECT is not supported'));
    this.server.on('checkExpectation', ({ headers, socket }) => refuse(socket, 417, `"Expect: ${headers.expect}" is not supported`));
  }

  /** Aborted when the shutdown begins. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Aborted soon after: requests that have not arrived completely by then are refused. */
  get late(): AbortSignal {
    return this.#late.signal;
  }

  answer(listener: RequestListener): void {
    this.server.on('request', listener);
  }

  /**
   * Answers all requests that were received, and closes the connections.
   *
   * @returns the number of requests that were not answered after `milliseconds`, and were dropped
   */
  async close(milliseconds: number): Promise<number> {
    this.#draining.abort();
    const closed = new Promise((resolve) => this.server.close(resolve));
    const late = setTimeout(() => this.#refuseLate(), Math.min(arrivalMilliseconds, milliseconds / 2));
    let dropped = 0;
    const end = setTimeout(() => {
      // The last answer may be sent only in part.
      for (const [socket, { size }] of this.#pending) dropped += Math.max(size, socket.writableLength > 0 ? 1 : 0);
      this.server.closeAllConnections();
    }, milliseconds);
    await closed;
    clearTimeout(late);
    clearTimeout(end);
    return dropped;
  }

  #awaitHandshake(socket: Socket): void {
    const address = addressOf(socket);
    this.#shaking.set(address, socket);
    socket.once('close', () => this.#shaking.get(address) === socket && this.#shaking.delete(address));
  }

  #watch(socket: Socket): void {
    this.#pending.set(socket, new Set());
    socket.once('end', () => this.#detectLoss(socket));
    socket.once('close', () => this.#pending.delete(socket));
  }

  #follow({ socket }: IncomingMessage, response: ServerResponse): void {
    const responses = this.#pending.get(socket);
    responses?.add(response);
    response.once('close', () => {
      responses?.delete(response);
      if (this.draining.aborted && responses?.size === 0) socket.destroySoon();
    });
  }

  /**
   * Detects clients that are gone. A client may close its side of the connection after sending its request and still
   * wait for the response (`nc -N`, Go's and Python's CloseWrite). On the network that looks as if it had disconnected.
   * So the server sends such a client an interim response every second while it waits: HTTP allows them, and the
   * machine of a client that is gone replies with a reset.
   */
  #detectLoss(socket: Socket): void {
    const timer = setInterval(() => {
      const [response] = this.#pending.get(socket) ?? [];
      // HTTP/1.0 has no interim responses. A stream detects it by itself.
      if (response && response.req.httpVersion !== '1.0' && !response.headersSent && !response.writableEnded) response.writeProcessing();
    }, interval).unref();
    socket.once('close', () => clearInterval(timer));
  }

  /** Responds as Node does, but with a message. */
  #refuseInvalid({ code, message, reason }: NodeJS.ErrnoException & { reason?: string }, socket: Socket): void {
    if (socket.writableEnded) return;
    const begun = [...(this.#pending.get(socket) ?? [])].some(({ headersSent }) => headersSent);
    if (begun || !socket.writable) return void socket.destroy();
    const [status, problem] = INVALID[code ?? ''] ?? [400, `the request is not valid HTTP: ${reason ?? message}`];
    refuse(socket, status, problem);
  }

  #refuseLate(): void {
    this.#late.abort();
    for (const socket of this.#shaking.values()) socket.destroy();
    for (const [socket, responses] of this.#pending) if (responses.size === 0) socket.destroySoon();
  }
}

const addressOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

const interval = 1000;

/** After the shutdown has begun, in milliseconds. */
const arrivalMilliseconds = 2000;

const INVALID: Record<string, [status: number, message: string]> = {
  ERR_HTTP_REQUEST_TIMEOUT: [
    408,
    `the request did not arrive in time: its headers within ${patience.headersTimeout / 1000} seconds, and all of it within ${patience.requestTimeout / 1000}`,
  ],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'the chunk extensions of the body are too large'],
  HPE_HEADER_OVERFLOW: [431, `the request line and the headers are larger than ${maxHeaderSize} bytes`],
};

/** Refuses a request without a response object, and ends the connection. */
function refuse(socket: Duplex, status: number, message: string): void {
  const body = JSON.stringify(problemOf(status, message));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    `Content-Type: ${PROBLEM}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // A client that is still sending would not see the answer if the connection were destroyed at once.
  const timer = setTimeout(() => socket.destroy(), interval);
  socket.once('close', () => clearTimeout(timer));
}
