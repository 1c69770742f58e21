/** Texts that are generated at the same time: the tokens of each are those that it has alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { openDecoder } from '../../../../steps/ml/generation/decoder.ts';
import { type Model, startModel } from '../../../../steps/ml/models/model-folder.ts';
import type { HostTensors, Runtime } from '../../../../steps/ml/runtime/runtime.ts';
import { smallGpt2, smallT5 } from '../../writers.ts';
import { sameTogether } from './together.ts';

type Kind = 'gpt2' | 't5';
let root: string;
const models: Partial<Record<Kind, Model>> = {};
let runtime: Runtime;

beforeAll(async () => {
  runtime = await openRuntime('onnx', { threads: 2 });
  root = mkdtempSync(join(tmpdir(), 'tunesmith-together-'));
  for (const kind of ['gpt2', 't5'] as const) {
    const folder = join(root, kind);
    if (kind === 'gpt2') smallGpt2(folder, { initializer_range: 0.4, n_positions: 400 });
    else smallT5(folder, ['one', 'two', 'three']);
    models[kind] = await startModel(folder, { task: kind === 'gpt2' ? 'causal-lm' : 'seq2seq', labels: [], seed: 4, say: () => {} });
  }
});

for (const kind of ['gpt2', 't5'] as const)
  test(`${kind}: requests that join and leave have the tokens that they have alone`, async () => {
    const finishes = await sameTogether(models[kind]!, join(root, kind), runtime, 12);
    expect(finishes.size).toBeGreaterThan(1);
  });

/** A decoder whose model counts its runs, and fails for a token. */
function watched() {
  const runs: number[] = [];
  const failing = { token: -1 };
  const counting: Runtime = {
    ...runtime,
    inference(...given) {
      const inference = runtime.inference(...given);
      return {
        ...inference,
        dispose: () => inference.dispose(),
        async run(inputs: HostTensors) {
          const { data, shape } = inputs.input_ids!;
          if ((data as Int32Array).includes(failing.token)) throw new Error('out of memory');
          runs.push(shape[0]!);
          return inference.run(inputs);
        },
      };
    },
  };
  return { decoder: openDecoder(models.gpt2!, counting, { startToken: 0, packed: true }), runs, failing };
}

let open: ReturnType<typeof watched> | undefined;
afterAll(async () => {
  await open?.decoder.close();
  rmSync(root, { recursive: true, force: true });
});

test('searches share runs of the model; one with a long prompt joins in parts, and one that is aborted does not', async () => {
  open = watched();
  const { decoder, runs } = open;
  const grow = async (prompt: number[], tokens: number) => {
    const rows = await decoder.start([prompt]);
    for (let i = 1; i < tokens; i++) await rows.advance([0], [i]);
    rows.end();
    return prompt.length;
  };
  const order: number[] = [];
  const note = (length: number) => void order.push(length);
  const prompt = (length: number) => new Array<number>(length).fill(5);
  await Promise.all([3, 4, 5, 6].map((length) => grow(prompt(length), 12).then(note)));
  // Each prompt by itself, then the tokens of all.
  expect(runs.length).toBeLessThan(4 + 11 + 4);
  expect(Math.max(...runs)).toBe(4);

  runs.length = 0;
  const gone = new AbortController();
  const aborted = decoder.start([prompt(390)], gone.signal);
  const long = grow(prompt(380), 3).then(note);
  await Promise.all([
    grow(prompt(2), 3).then(note),
    long,
    ...[expect(aborted).rejects.toThrow('hung up')],
    gone.abort(new Error('hung up')),
  ]);
  expect(order.at(-1)).toBe(380);
  expect(runs.length).toBeLessThanOrEqual(1 + 1 + 3 + 2 + 2);
});

test('a search with which the model fails does not end the others', async () => {
  const { decoder, failing } = watched();
  failing.token = 9;
  const logits = async (tokens: number[]) => {
    const rows = await decoder.start([[1, 2]]);
    try {
      for (const token of tokens) await rows.advance([0], [token]);
      return [...rows.logits];
    } finally {
      rows.end();
    }
  };
  const expected = [await logits([3, 4, 5, 6]), await logits([4, 4, 4, 4])];
  const [first, failed, second] = await Promise.allSettled([logits([3, 4, 5, 6]), logits([3, 4, 9, 6]), logits([4, 4, 4, 4])]);
  expect(failed).toMatchObject({ status: 'rejected', reason: { message: 'out of memory' } });
  expect([first, second]).toEqual(expected.map((value) => ({ status: 'fulfilled', value })));
  await expect(decoder.start([[9]])).rejects.toThrow('out of memory');
  await decoder.close();
});
