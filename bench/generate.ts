/**
 * Tokens per second of a model with GPT-2 small's shape and random weights: ours and transformers' generate(),
 * alternating so that both see the same machine load; greedy, with the same threads and folder. The tokens must be equal.
 *
 * npm run bench:generate -- [--batches 1,8] [--rounds 5] [--prompt 32] [--tokens 64] [--threads 2]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { openRuntime } from '../steps/ml/device/open.ts';
import { openDecoder } from '../steps/ml/generation/decoder.ts';
import { generationConfig } from '../steps/ml/generation/options.ts';
import { search } from '../steps/ml/generation/search.ts';
import { loadModel } from '../steps/ml/models/model-folder.ts';
import { random } from '../steps/ml/models/random.ts';
import { preparePython } from './python.ts';

const { values } = parseArgs({
  options: {
    batches: { type: 'string', default: '1,8' },
    rounds: { type: 'string', default: '5' },
    prompt: { type: 'string', default: '32' },
    tokens: { type: 'string', default: '64' },
    threads: { type: 'string', default: '2' },
  },
});
const [rounds, length, tokens, threads] = [values.rounds, values.prompt, values.tokens, values.threads].map(Number) as [
  number,
  number,
  number,
  number,
];

const folder = mkdtempSync(join(tmpdir(), 'tunesmith-gpt2-'));
const python = spawn(preparePython(), [join(import.meta.dirname, 'generate.py'), folder, String(threads)], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
const answer = async () => JSON.parse((await answers.next()).value as string);

try {
  await answer(); // the folder exists
  const start = performance.now();
  const model = await loadModel(folder);
  const decoder = openDecoder(model, await openRuntime('onnx', { threads }), { startToken: 0, packed: true });
  await ours([[1, 2]], 2);
  console.log(`opened in ${((performance.now() - start) / 1000).toFixed(1)} s`);

  for (const batch of values.batches.split(',').map(Number)) {
    const uniform = random('bench', batch);
    const prompts = Array.from({ length: batch }, () => Array.from({ length }, () => Math.floor(uniform() * 50000)));
    const times: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
    let different = 0;
    for (let round = 0; round <= rounds; round++) {
      const mine = await ours(prompts, tokens);
      python.stdin.write(`${JSON.stringify({ prompts, tokens })}\n`);
      const theirs = (await answer()) as { seconds: number; texts: number[][] };
      different = theirs.texts.filter((text, i) => text.join() !== mine.texts[i]!.join()).length;
      if (round === 0) continue; // warm-up of both
      times.ours.push(mine.seconds);
      times.theirs.push(theirs.seconds);
    }
    const rate = (seconds: number) => (batch * tokens) / seconds;
    const [best, theirBest] = [Math.min(...times.ours), Math.min(...times.theirs)];
    console.log(
      `batch ${batch}: ours ${rate(median(times.ours)).toFixed(1)} tokens/s (best ${rate(best).toFixed(1)}), transformers ${rate(median(times.theirs)).toFixed(1)} (best ${rate(theirBest).toFixed(1)}): ` +
        `${(median(times.theirs) / median(times.ours)).toFixed(2)}× (best ${(theirBest / best).toFixed(2)}×); ${different} of ${batch} texts differ`,
    );
  }
  await decoder.close();

  async function ours(prompts: number[][], count: number): Promise<{ seconds: number; texts: number[][] }> {
    const config = generationConfig({}, { max_new_tokens: count, eos_token_id: [] }, decoder.vocabulary);
    const from = performance.now();
    const texts = await search(decoder, prompts, { config });
    return { seconds: (performance.now() - from) / 1000, texts: texts.map((text) => text.tokens) };
  }
} finally {
  python.kill();
  rmSync(folder, { recursive: true, force: true });
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}
