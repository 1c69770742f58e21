/** Models that keep only the tokens of some texts, compared with the whole ones. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { loadModel } from '../../../steps/ml/models/model-folder.ts';
import { openTokenizer } from '../../../steps/ml/models/tokenizer.ts';
import type { HostTensors } from '../../../steps/ml/runtime/runtime.ts';
import step from '../../../steps/reduce/step.ts';
import { idsOf as idsIn } from '../../../steps/reduce/vocabulary.ts';
import { difference, int32 } from '../ml/models/golden.ts';
import { ranStep, table } from '../rig.ts';

export const golden = (family: string): string => join(import.meta.dirname, '../../golden/reduce', family);

export const read = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));

export const idsOf = (folder: string) => idsIn(read(folder, 'tokenizer.json'));

export const textsOf = (family: string): Expected[] => read(golden(family), 'expected.json');

export interface Expected {
  text: string;
  tokens: string[];
  logits: number[];
}

export const asTable = (texts: string[]): Promise<string> => table(texts.map((text, i) => ({ id: String(i), text })));

export async function reduced(model: string, texts: string[] | undefined, options: object = {}) {
  return ranStep(step, options, { model, ...(texts && { data: [await asTable(texts)] }) });
}

/** The tokens of each text, and their logits at its last place. */
export async function computed(folder: string, ...texts: string[]): Promise<{ tokens: string[]; logits: number[] }[]> {
  const tokenizer = await openTokenizer(folder, {});
  const model = await loadModel(folder);
  const inference = (await openRuntime('eager', { threads: 1 })).inference(model.program, model.weights, model.axes);
  const { decoder_start_token_id: start, vocab_size } = model.config;
  const all: { tokens: string[]; logits: number[] }[] = [];
  for (const { ids } of await tokenizer.encode(texts)) {
    const inputs = { input_ids: int32([ids]), attention_mask: int32([ids.map(() => 1)]) };
    const decoder: HostTensors = start === undefined ? {} : { decoder_input_ids: int32([[start, ...ids.slice(0, 3)]]) };
    const { logits } = await inference.run({ ...inputs, ...decoder });
    const last = logits!.data.slice(logits!.data.length - vocab_size);
    all.push({ tokens: await Promise.all(ids.map((id) => tokenizer.decodeToken(id))), logits: ids.map((id) => last[id]!) });
  }
  await inference.dispose();
  return all;
}

export function keepsTokens(family: string): void {
  const expected = textsOf(family);

  test('texts whose tokens are kept have the same tokens and logits as in transformers', async () => {
    const { outputs, metrics, warnings } = await reduced(
      golden(family),
      expected.map(({ text }) => text),
    );
    const config = read(outputs.model!, 'config.json');
    expect(metrics.vocabulary).toBe(config.vocab_size);
    expect(metrics.vocabulary).toBeLessThan(metrics.vocabulary_before!);
    expect(metrics.parameters).toBeLessThan(metrics.parameters_before!);
    expect(metrics).toMatchObject({ unknown_share: 0, layers: 3 });
    expect(warnings).toEqual([]);
    const texts = expected.map(({ text }) => text);
    const [now, then] = [await computed(outputs.model!, ...texts), await computed(golden(family), ...texts)];
    for (const [i, { text, tokens, logits }] of expected.entries()) {
      expect(now[i]!.tokens).toEqual(then[i]!.tokens);
      expect(now[i]!.tokens).toHaveLength(tokens.length);
      expect(difference(now[i]!.logits, then[i]!.logits), text).toBeLessThan(1e-6);
      expect(difference(now[i]!.logits, logits), text).toBeLessThan(1e-5);
    }
  });

  test('the ids of kept tokens close up in their old order', async () => {
    const { outputs } = await reduced(golden(family), ['the cat sat on the mat']);
    const [before, after] = [idsOf(golden(family)), idsOf(outputs.model!)];
    const order = [...after.keys()].sort((a, b) => before.get(a)! - before.get(b)!);
    expect(order.map((token) => after.get(token))).toEqual([...order.keys()]);
    expect(after.size).toBe(read(outputs.model!, 'config.json').vocab_size);
  });
}
