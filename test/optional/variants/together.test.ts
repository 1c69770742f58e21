/** Texts that are generated at the same time, with more requests and larger models: the tokens of each are those that it has alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { openDecoder } from '../../../steps/ml/generation/decoder.ts';
import { type Model, startModel } from '../../../steps/ml/models/model-folder.ts';
import { random } from '../../../steps/ml/models/random.ts';
import { sameTogether } from '../../steps/ml/generation/together.ts';
import { smallGpt2, smallT5 } from '../../steps/writers.ts';

async function withModel(
  write: (folder: string) => void,
  task: 'causal-lm' | 'seq2seq',
  use: (model: Model, folder: string) => Promise<unknown>,
) {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-together-'));
  try {
    write(folder);
    await use(await startModel(folder, { task, labels: [], seed: 4, say: () => {} }), folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const runtime = () => openRuntime('onnx', { threads: 2 });
const gpt2 = (change: object) => (folder: string) => smallGpt2(folder, { initializer_range: 0.4, n_positions: 400, ...change });
const gpt2Small = gpt2({ n_embd: 768, n_layer: 12, n_head: 12, vocab_size: 50257, initializer_range: 0.08 });

test.each<[string, (folder: string) => void, 'causal-lm' | 'seq2seq', number]>([
  ['gpt2', gpt2({}), 'causal-lm', 90],
  ['gpt2 with other sizes', gpt2({ n_embd: 60, n_head: 5, n_layer: 3 }), 'causal-lm', 60],
  ['t5', (folder) => smallT5(folder, ['one', 'two', 'three']), 'seq2seq', 90],
  ["GPT-2 small's shape", gpt2Small, 'causal-lm', 12],
])('%s', (_, write, task, count) => withModel(write, task, async (model, folder) => sameTogether(model, folder, await runtime(), count)));

test('logits are those of a search alone, to the last bit', () =>
  withModel(gpt2({ n_embd: 192, n_head: 6, n_layer: 3, vocab_size: 1000 }), 'causal-lm', async (model) => {
    const decoder = openDecoder(model, await runtime(), { startToken: 0, packed: true });
    const uniform = random('prompts');
    const below = (limit: number) => Math.floor(uniform() * limit);
    const texts = Array.from({ length: 12 }, (_, i) => Array.from({ length: 60 + below(i % 4 === 0 ? 300 : 40) }, () => below(1000)));
    const logits = async (tokens: number[]) => {
      const begun = tokens.length - 50;
      const rows = await decoder.start([tokens.slice(0, begun)]);
      const all = [rows.logits.slice()];
      for (const token of tokens.slice(begun)) {
        await rows.advance([0], [token]);
        all.push(rows.logits.slice());
      }
      rows.end();
      return all;
    };
    const alone: Float32Array[][] = [];
    for (const tokens of texts) alone.push(await logits(tokens));
    const together = await Promise.all(texts.map(logits));
    for (const [i, all] of together.entries())
      for (const [step, one] of all.entries())
        expect(Buffer.compare(Buffer.from(one.buffer), Buffer.from(alone[i]![step]!.buffer))).toBe(0);
    await decoder.close();
  }));
