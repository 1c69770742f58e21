/** A protocol: the paths, requests and responses in which clients talk to a model. `tunesmith serve --api` chooses protocols. */
import type { Context } from 'hono';
import type { Ticket } from './limits.ts';
import type { ProtocolName } from './protocol-names.ts';
import type { ServedModel } from './served-model.ts';

export interface Protocol {
  /** Its name in `--api`. */
  name: ProtocolName;
  /** What clients it is for, in one sentence. */
  description: string;
  /** @throws StepError if it cannot express this model's task */
  routes(model: ServedModel): ProtocolRoute[];
  /** Schemas below `components` of the OpenAPI document, to which its routes refer. */
  schemas?(model: ServedModel): Record<string, object>;
  /** Its own form of errors, for its paths. Default: problem documents (problem.ts). */
  errors?: { paths: RegExp; media: string; schema: object; body(status: number, message: string, request?: string): object };
}

export interface ProtocolRoute {
  /** A path of Hono: `/v2/models/:name/infer`. */
  path: string;
  method: 'GET' | 'POST';
  /** Media types that a body may have. Default: JSON. */
  accepts?: readonly string[];
  /** @throws RequestRefusal for an invalid body, or if the server is overloaded; StepError for an input that the model cannot read */
  answer(request: ProtocolRequest): Response | Promise<Response>;
  /** It needs no API key and has no rate limit: a health check. */
  open?: true;
  /** Its operation in the OpenAPI document, which writes a path's `:name` as `{name}`. */
  operation: object;
}

export interface ProtocolRequest {
  /** Empty for GET. */
  body: Buffer;
  /** Parameters of the path, headers and the response. Its signal is aborted when the client disconnects. */
  c: Context;
  /** Accounts for memory that the answer takes besides the body. */
  ticket: Ticket;
}
