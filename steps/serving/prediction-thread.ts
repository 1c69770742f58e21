/**
 * The thread that predicts: it encodes inputs and keeps them, runs the model on the sequences that the queue selects, and returns
 * an answer once all sequences of its input were run. No answer or error depends on other inputs.
 */
import { type Answer, openAnswer } from '../ml/answering/answer.ts';
import type { PipelineParameters } from '../ml/answering/pipeline-answer.ts';
import type { EncodedInput } from '../ml/tasks/encoder.ts';
import {
  answerCalls,
  failureOf,
  type InputChunk,
  type Numbered,
  type PredictionData,
  type PredictionRequest,
  type WorkerReport,
} from './workers.ts';

export async function work(): Promise<void> {
  await answerCalls(async ({ bundle, threads }: PredictionData) => {
    const model = await openAnswer(bundle, threads);
    await model.check();
    const inputs = new Inputs(model);
    return {
      async answer(request: PredictionRequest) {
        if ('encode' in request) return Promise.all(request.encode.map((each) => inputs.encode(each)));
        if ('run' in request) return inputs.run(request.run);
        if ('answer' in request) return inputs.answer(request.answer);
        return inputs.drop(request.drop);
      },
    };
  });
}

/** The inputs that were encoded but not answered yet. */
class Inputs {
  readonly #held = new Map<
    number,
    { encoded: EncodedInput; results: unknown[]; missing: number; pipeline: PipelineParameters | undefined }
  >();

  constructor(private readonly model: Answer) {}

  async encode({ id, input, pipeline }: Numbered): Promise<WorkerReport> {
    try {
      const encoded = await this.model.encode(input, pipeline);
      if (encoded.sequences.length === 0) return { id, prediction: await this.model.conclude(encoded, [], pipeline) };
      this.#held.set(id, { encoded, results: [], missing: encoded.sequences.length, pipeline });
      return { id, lengths: encoded.sequences.map(({ ids }) => ids.length) };
    } catch (error) {
      const failure = failureOf(error);
      return failure.ofUser ? { id, refused: failure } : { id, failed: failure };
    }
  }

  /** The answer, unless the input has several sequences. */
  async answer(input: Numbered): Promise<WorkerReport> {
    const report = await this.encode(input);
    if (!('lengths' in report) || report.lengths.length > 1) return report;
    const [answered] = await this.run([{ id: input.id, sequence: 0 }]);
    return answered!;
  }

  /** Returns the inputs that are complete. A failed run is repeated one by one, so that the error belongs to the input that caused it. */
  async run(parts: InputChunk[]): Promise<WorkerReport[]> {
    const present = parts.filter(({ id }) => this.#held.has(id));
    if (present.length === 0) return [];
    try {
      const held = present.map(({ id }) => this.#held.get(id)!);
      const results = await this.model.run(
        present.map(({ sequence }, i) => held[i]!.encoded.sequences[sequence]!),
        held.map(({ pipeline }) => pipeline),
      );
      const reports = await Promise.all(present.map((part, i) => this.#take(part, results[i])));
      return reports.filter((report) => report !== undefined);
    } catch (error) {
      if (present.length > 1) {
        const reports: WorkerReport[] = [];
        for (const part of present) reports.push(...(await this.run([part])));
        return reports;
      }
      const { id } = present[0]!;
      this.#held.delete(id);
      return [{ id, failed: failureOf(error) }];
    }
  }

  drop(ids: number[]): void {
    for (const id of ids) this.#held.delete(id);
  }

  async #take({ id, sequence }: InputChunk, result: unknown): Promise<WorkerReport | undefined> {
    const input = this.#held.get(id);
    if (!input) return undefined;
    input.results[sequence] = result;
    if (--input.missing > 0) return undefined;
    this.#held.delete(id);
    try {
      return { id, prediction: await this.model.conclude(input.encoded, input.results, input.pipeline) };
    } catch (error) {
      return { id, failed: failureOf(error) };
    }
  }
}
