/** A bundle whose model answers requests. Protocols read inputs from bodies, and write its answers. */
import { availableParallelism } from 'node:os';
import type { Json } from '../../engine/contract/step.ts';
import { type Bundle, tokensOfRun } from '../ml/answering/bundle.ts';
import type { PipelineParameters } from '../ml/answering/pipeline-answer.ts';
import type { GeneratedText, TokenDetails } from '../ml/generation/generator.ts';
import { isGenerating } from '../ml/models/config.ts';
import type { Input } from '../ml/tasks/task.ts';
import type { GenerationRequest } from './generation-thread.ts';
import { checkCharacters, type Limits, RequestRefusal, type Ticket } from './limits.ts';
import type { Measurements } from './measurements.ts';
import { Queue, type QueueOutcome } from './queue.ts';
import { ModelThread, startWorkers } from './workers.ts';

export interface ServedModel {
  readonly bundle: Bundle;
  readonly limits: Limits;
  /** Called for errors that are not the client's fault, with the id of the request. */
  report(error: Error, request?: string): void;
  /**
   * Answers inputs in their order.
   * @throws RequestRefusal if one cannot be read or there are too many; other errors if the model failed, or generates texts
   */
  predict(inputs: Input[], request: PredictionRequestOptions): Promise<Json[]>;
  /**
   * Generates texts in the order of the prompts. Once `signal` is aborted, the work stops with the next token.
   * @throws StepError for a prompt that the model cannot read; other errors if the model failed, or does not generate texts
   */
  generate(request: GenerationRequest, options: GenerationCallOptions): Promise<WrittenText[]>;
  /** The number of inputs that wait; of requests, if it generates texts. */
  readonly waiting: number;
  /** The number of requests whose texts are being generated; undefined if it generates none. */
  readonly running?: number | undefined;
  close(): Promise<void>;
}

/** A text, with the number of tokens of its prompt, and the text of a prompt that was given as tokens. */
export type WrittenText = GeneratedText & { promptTokens: number; prompt?: string };

export interface PredictionRequestOptions {
  signal: AbortSignal;
  ticket: Ticket;
  /** The name of an input in messages: `"inputs[3]"`. */
  nameOf(place: number): string;
  /** Asks for the answers of transformers' pipeline. */
  pipeline?: PipelineParameters;
}

export interface GenerationCallOptions {
  signal: AbortSignal;
  ticket: Ticket;
  /** Receives pieces of the texts, with the index of the text, if the request asks for a stream. */
  onPiece?: (place: number, piece: string, token?: TokenDetails) => void;
}

export interface ServingParts {
  measurements: Measurements;
  limits: Limits;
  report(error: Error, request?: string): void;
}

export function openServedModel(bundle: Bundle, parts: ServingParts): Promise<ServedModel> {
  return isGenerating(bundle.task) ? generator(bundle, parts) : predictor(bundle, parts);
}

async function predictor(bundle: Bundle, { limits, measurements, report }: ServingParts): Promise<ServedModel> {
  const queue = new Queue(await startWorkers(bundle), {
    tokens: tokensOfRun(bundle, tokensTogether),
    milliseconds: turn,
    onRun: measurements.batch,
  });
  return {
    bundle,
    limits,
    report,
    async predict(inputs, { signal, ticket, nameOf, pipeline }) {
      if (inputs.length > limits.inputs)
        throw new RequestRefusal(413, `the request has ${inputs.length} inputs, but at most ${limits.inputs} are allowed at once`);
      checkCharacters(inputs.map(charactersOf), limits, nameOf);
      ticket.take(inputs.length * bytesOf(bundle));
      return predictionsOf(await queue.answer(inputs, { signal, untilError: true, pipeline }), inputs.length, nameOf);
    },
    generate: () => Promise.reject(new Error('this model does not generate texts')),
    get waiting() {
      return queue.length;
    },
    close: () => queue.close(),
  };
}

/** Memory of an input and its answer, besides the text. */
const bytesOf = ({ labels }: Bundle): number => 512 + 64 * labels.length;

const charactersOf = (input: Input): number => Object.values(input).reduce((sum, text) => sum + text.length, 0);

/** Including padding. Larger runs are not faster. */
const tokensTogether = 256 * Math.max(2, availableParallelism());

/** A short request waits for the current turn and is in the next one: 100 ms, unless one sequence takes longer than a run may. */
const turn = { encode: 10, run: 40 };

/** @throws RequestRefusal if one of the inputs cannot be read; other errors if the model failed */
function predictionsOf(outcomes: (QueueOutcome | undefined)[], count: number, nameOf: (place: number) => string): Json[] {
  const predictions: Json[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    // Not answered, because another input has an error.
    if (!outcome) continue;
    if ('refused' in outcome) {
      throw new RequestRefusal(400, count > 1 ? `${nameOf(i)}: ${outcome.refused.message}` : outcome.refused.message);
    }
    // A failure of the model is not the client's fault.
    if ('failed' in outcome) throw new Error(outcome.failed.message, { cause: outcome.failed });
    predictions.push(outcome.prediction);
  }
  return predictions;
}

async function generator(bundle: Bundle, { limits, report }: ServingParts): Promise<ServedModel> {
  let running = new Int32Array(new SharedArrayBuffer(4));
  const start = () => {
    // The thread counts in it; one that died can no longer.
    running = new Int32Array(new SharedArrayBuffer(4));
    return ModelThread.start('generating', { folder: bundle.folder, running });
  };
  let thread = await start();
  let starting: Promise<ModelThread> | undefined;
  return {
    bundle,
    limits,
    report,
    predict: () => Promise.reject(new Error('this model generates texts')),
    async generate(request, { signal, ticket, onPiece }) {
      ticket.take(bytesOfRequest);
      // It died, for example for lack of memory: start a new one.
      if (!thread.alive) {
        starting ??= start().finally(() => {
          starting = undefined;
        });
        thread = await starting;
      }
      return thread.call<WrittenText[]>(request, { signal, ...(onPiece && { onPiece }) });
    },
    get waiting() {
      return Math.max(0, thread.length - Atomics.load(running, 0));
    },
    get running() {
      return Atomics.load(running, 0);
    },
    close: () => thread.end(),
  };
}

/** Fields of a request besides its prompts. */
const bytesOfRequest = 1 << 14;
