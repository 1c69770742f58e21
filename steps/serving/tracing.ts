/**
 * OpenTelemetry traces: a span for each request, sent as OTLP over HTTP in JSON. A trace that a client has begun (W3C traceparent) goes
 * on. The format is small and stable, so no library is needed. Spans wait in memory, and are dropped if nobody takes them.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { StepError } from '../../engine/contract/step.ts';
import { infoOf } from './request-info.ts';

export interface TracingOptions {
  /** Of a collector, such as http://localhost:4318, or the whole URL that takes traces. */
  endpoint: string;
  warn(line: string): void;
  /** OTEL_SERVICE_NAME, and OTEL_EXPORTER_OTLP_HEADERS: the headers that a collector needs, which may be secret. */
  environment?: Record<string, string | undefined>;
}

export class Tracing {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #service: string;
  readonly #timer: NodeJS.Timeout;
  #spans: object[] = [];
  #sending: Promise<void> | undefined;
  #failing = false;

  /** @throws StepError for an endpoint that is no URL */
  constructor(private readonly options: TracingOptions) {
    const { endpoint, environment = process.env } = options;
    const url = URL.parse(endpoint);
    if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
      throw new StepError(`--trace-endpoint ${endpoint}: not a URL`, 'Give the address of a collector, such as http://localhost:4318');
    if (url.pathname === '/') url.pathname = '/v1/traces';
    this.#url = url.href;
    this.#headers = headersOf(environment.OTEL_EXPORTER_OTLP_HEADERS ?? '');
    this.#service = environment.OTEL_SERVICE_NAME ?? 'tunesmith';
    this.#timer = setInterval(() => void this.#send(), sendMilliseconds).unref();
  }

  /** Records a span when the response is complete, or the client is gone. */
  follow(request: IncomingMessage, response: ServerResponse): void {
    const parent = parentOf(request.headers.traceparent);
    // The client has decided that this trace is not recorded.
    if (parent && !parent.sampled) return;
    const spanId = randomBytes(8).toString('hex');
    response.once('close', () => {
      const { id, time, start, route = 'other' } = infoOf(request);
      const status = response.headersSent ? response.statusCode : 499;
      this.#add({
        traceId: parent?.traceId ?? randomBytes(16).toString('hex'),
        spanId,
        ...(parent && { parentSpanId: parent.spanId }),
        name: `${request.method} ${route}`,
        // A server.
        kind: 2,
        startTimeUnixNano: nanoseconds(time),
        endTimeUnixNano: nanoseconds(time + performance.now() - start),
        attributes: [
          text('http.request.method', request.method ?? ''),
          text('http.route', route),
          { key: 'http.response.status_code', value: { intValue: String(status) } },
          text('tunesmith.request_id', id),
        ],
        status: status >= 500 ? { code: 2 } : {},
      });
    });
  }

  /** Sends what waits. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sending;
    await this.#send();
  }

  #add(span: object): void {
    if (this.#spans.length < mostSpans) this.#spans.push(span);
    if (this.#spans.length >= mostTogether) void this.#send();
  }

  #send(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    while (this.#spans.length > 0) {
      const spans = this.#spans.splice(0, mostTogether);
      const scope = { name: 'tunesmith' };
      const body = { resourceSpans: [{ resource: { attributes: [text('service.name', this.#service)] }, scopeSpans: [{ scope, spans }] }] };
      try {
        const response = await fetch(this.#url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...this.#headers },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(patience),
        });
        await response.body?.cancel();
        if (!response.ok) throw new Error(`status ${response.status}`);
        this.#failing = false;
      } catch (error) {
        const { message, cause } = error as Error & { cause?: Error };
        if (!this.#failing) this.options.warn(`traces are lost, because ${this.#url} does not take them: ${cause?.message ?? message}`);
        this.#failing = true;
        return;
      }
    }
  }
}

const sendMilliseconds = 2000;
const patience = 5000;
const mostTogether = 512;
const mostSpans = 4096;

/** The span of the client. */
function parentOf(header: string | string[] | undefined): { traceId: string; spanId: string; sampled: boolean } | undefined {
  const [, traceId, spanId, flags] =
    /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/.exec(String(header)) ?? [];
  return traceId === undefined ? undefined : { traceId, spanId: spanId!, sampled: (Number.parseInt(flags!, 16) & 1) === 1 };
}

/** `name=value,name=value`, each encoded as in a URL. */
function headersOf(given: string): Record<string, string> {
  const pairs = given.split(',').flatMap((pair) => {
    const [name, ...value] = pair.split('=');
    return name!.trim() === '' || value.length === 0 ? [] : [[name!.trim(), decoded(value.join('=').trim())]];
  });
  return Object.fromEntries(pairs);
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** As a text: a number would lose digits. */
const nanoseconds = (milliseconds: number): string => (BigInt(Math.round(milliseconds * 1000)) * 1000n).toString();

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
