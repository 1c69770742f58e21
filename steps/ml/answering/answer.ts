/**
 * Answers raw inputs with a model, as `predict` prints it: encodes each input by itself, runs the model on batches of sequences,
 * and interprets its outputs. No answer or error depends on other inputs.
 */
import { type Json, StepError } from '../../../engine/contract/step.ts';
import { outputsOf } from '../models/config.ts';
import { checkVocabulary, type Sequence } from '../models/tokenizer.ts';
import * as ort from '../runtime/onnx/library.ts';
import { onnxPath } from '../runtime/quantization.ts';
import { type EncodedInput, openEncoder } from '../tasks/encoder.ts';
import { taskKind } from '../tasks/registry.ts';
import type { Answering, Input, Outputs } from '../tasks/task.ts';
import { type Bundle, notTaken } from './bundle.ts';
import { checkFilled, fillingOf, type PipelineParameters, pipelineAnswer, targetsOf } from './pipeline-answer.ts';
import { windowsAsked } from './pipeline-question.ts';

export type Answer = Awaited<ReturnType<typeof openAnswer>>;

/** `threads`: the cores of one run of the model. */
export async function openAnswer(bundle: Bundle, threads: number) {
  const kind = taskKind(bundle.task);
  const encoder = await openEncoder(bundle);
  if (bundle.vocabulary !== undefined) checkVocabulary(encoder.tokenizer, bundle.vocabulary);
  const answering: Answering = { ...bundle, ...encoder };
  const session = await openSession(bundle, threads);
  // They are no texts, so that nothing cleans or tokenizes them.
  const groups = bundle.fields.flatMap(({ name, group }) => (group ? [name] : []));

  const answer = {
    /** @throws StepError for an input that the model cannot read */
    async encode(given: Input, pipeline?: PipelineParameters): Promise<EncodedInput> {
      const odd = Object.keys(given).find(
        (name) => !bundle.fields.some((field) => field.name === name || (field.words && name === 'words')),
      );
      if (odd !== undefined) throw new StepError(notTaken(odd));
      const part = (ofGroups: boolean): Input =>
        Object.fromEntries(Object.entries(given).filter(([name]) => groups.includes(name) === ofGroups));
      const asked = pipeline && bundle.task === 'question-answering' ? windowsAsked(pipeline, bundle.encoding.max_length!) : undefined;
      const { input, sequences } = await encoder.encode(part(false), asked);
      if (asked && input.context!.trim() === '') throw new StepError('the context is empty, so it contains no answer');
      if (pipeline && encoder.mask) {
        checkFilled(sequences, encoder.mask.id, pipeline);
        await targetsOf(pipeline, encoder.tokenizer);
      }
      return { input: { ...input, ...part(true) }, sequences };
    },

    /** The outputs of the model for these sequences, of one input or of several, in one run. `pipelines`: the parameters of each sequence's input. */
    async run(sequences: readonly Sequence[], pipelines: readonly (PipelineParameters | undefined)[] = []): Promise<unknown[]> {
      // Dynamic quantization takes the scale of all numbers of a run: other sequences would change the answer.
      const runs = bundle.quantization === 'int8' ? sequences.map((sequence) => [sequence]) : [sequences];
      const fillings = await Promise.all(sequences.map((_, i) => encoder.mask && fillingOf(pipelines[i], encoder.tokenizer)));
      const results: unknown[] = [];
      for (const run of runs) {
        const outputs = await runModel(session, run, bundle);
        const kept = (row: number) => ({ ...answering, ...fillings[results.length + row] });
        results.push(...run.map((sequence, row) => kind.read(outputs, row, sequence, kept(row))));
      }
      return results;
    },

    /** The answer to an input, from the outputs for its sequences; with `pipeline`, in the form of transformers' pipeline. */
    async conclude(encoded: EncodedInput, results: unknown[], pipeline?: PipelineParameters): Promise<Json> {
      if (pipeline) return pipelineAnswer(bundle.task, encoded, results, answering, pipeline);
      return kind.answer(encoded.input, encoded.sequences, results, answering);
    },

    close: (): Promise<void> => session.release(),

    /** @throws StepError if the files of the bundle do not fit each other, so that every input would fail */
    async check(): Promise<void> {
      const required = bundle.fields.filter(({ optional }) => !optional);
      const sample = Object.fromEntries(required.map(({ name }) => [name, encoder.mask ? `a ${encoder.mask.token}` : 'a']));
      const unable = (why: string) => {
        const hint = `Its max_length is ${bundle.encoding.max_length}. Copy or deploy the bundle again.`;
        return new StepError(`${bundle.folder} cannot process any input, not even a short one: ${why}`, hint);
      };
      const { sequences } = await answer.encode(sample).catch((error: Error) => {
        throw unable(error.message);
      });
      const unread = required.filter(({ group }) => !group).find((_, i) => !sequences[0]!.sequenceIds.includes(i));
      if (unread) throw unable(`there is no room for a token of ${unread.name}`);
      await answer.run(sequences);
      await answer.run([longest(sequences[0]!, bundle)]);
    },
  };
  return answer;
}

/** The last token at maximum length: fails if the ONNX model has fewer positions or embeddings than config.json declares. */
function longest({ typeIds }: Sequence, { encoding, vocabulary, padTokenId }: Bundle): Sequence {
  const fill = <T>(value: T): T[] => new Array<T>(encoding.max_length!).fill(value);
  return {
    ids: fill(vocabulary === undefined ? padTokenId : vocabulary - 1),
    truncated: false,
    typeIds: fill(Math.max(...typeIds)),
    sequenceIds: fill(0),
    wordIds: fill(null),
    spans: fill([0, 0]),
  };
}

/** The input names of the models that Hugging Face and tunesmith export. */
const knownInputs = ['input_ids', 'attention_mask', 'token_type_ids'];

async function openSession({ model, folder, labels, task, quantization }: Bundle, threads: number): Promise<ort.InferenceSession> {
  const options: ort.InferenceSession.SessionOptions = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // A memory plan for each shape would not pay off, because every batch has its own shape.
    enableMemPattern: false,
    logSeverityLevel: 3,
  };
  let session: ort.InferenceSession;
  try {
    session = await (typeof model === 'string' ? ort.InferenceSession.create(model, options) : ort.InferenceSession.create(model, options));
  } catch (error) {
    const reason = (error as Error).message.split('\n', 1)[0];
    throw new StepError(
      `the ONNX model of ${folder} cannot be opened: ${reason}`,
      `${onnxPath(quantization ?? 'fp32')} may be truncated: copy or deploy the bundle again.`,
    );
  }
  const unknown = session.inputNames.find((name) => !knownInputs.includes(name));
  if (unknown)
    throw new StepError(
      `the ONNX model of ${folder} needs the input ${unknown}, which is not supported`,
      `Supported: ${knownInputs.join(', ')}.`,
    );
  for (const name of outputsOf(task)) {
    const output = session.outputMetadata.find((one) => one.name === name);
    if (!output?.isTensor) throw new StepError(`the ONNX model of ${folder} has no output "${name}"`, `Export it for ${task}.`);
    const width = output.shape.at(-1);
    if (task.endsWith('-classification') && typeof width === 'number' && width !== labels.length)
      throw new StepError(
        `the ONNX model of ${folder} has ${width} labels, but config.json has ${labels.length}`,
        'Deploy the model again.',
      );
  }
  return session;
}

async function runModel(
  session: ort.InferenceSession,
  sequences: readonly Sequence[],
  { folder, padTokenId, quantization }: Bundle,
): Promise<Outputs> {
  const width = Math.max(1, ...sequences.map(({ ids }) => ids.length));
  const integers = (valuesOf: (sequence: Sequence) => number[], padding: number) => {
    // int64, written as pairs of int32: ten times as fast as through BigInt.
    const words = new Int32Array(2 * sequences.length * width);
    for (const [row, sequence] of sequences.entries()) {
      const values = valuesOf(sequence);
      for (let i = 0; i < width; i++) words[2 * (row * width + i)] = values[i] ?? padding;
    }
    return new ort.Tensor('int64', new BigInt64Array(words.buffer), [sequences.length, width]);
  };
  const inputs: Record<string, () => ort.Tensor> = {
    input_ids: () => integers(({ ids }) => ids, padTokenId),
    attention_mask: () => integers(({ ids }) => ids.map(() => 1), 0),
    token_type_ids: () => integers(({ typeIds }) => typeIds, 0),
  };
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, inputs[name]!()]));
  const outputs = await session.run(feeds).catch((error: Error) => {
    throw new StepError(
      `the ONNX model of ${folder} cannot read a batch of ${sequences.length} × ${width} tokens: ${error.message.split('\n', 1)[0]}`,
      `${onnxPath(quantization ?? 'fp32')}, config.json and tokenizer.json must belong to one model: deploy the bundle again.`,
    );
  });
  return Object.fromEntries(Object.entries(outputs).map(([name, { data, dims }]) => [name, { data: data as Float32Array, shape: dims }]));
}
