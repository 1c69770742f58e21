/** Texts that are cut before they are cleaned and tokenized, compared with whole ones. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { type CleaningOptions, cleanBeginning, cleanText, removables } from '../../../../steps/ml/data/cleaning.ts';
import { type Preprocessing, preprocess } from '../../../../steps/ml/data/preprocessing.ts';
import { beginning } from '../../../../steps/ml/data/token-prefix.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import { openTokenizer } from '../../../../steps/ml/models/tokenizer.ts';
import { openEncoder } from '../../../../steps/ml/tasks/encoder.ts';
import { randomText } from '../models/random-texts.ts';

/** Any of the options, the same for the same number. */
export function optionsOf(number: number): CleaningOptions {
  const draw = random('options', number);
  const flip = () => draw() < 0.5;
  return {
    remove: removables.filter(flip),
    keep_characters: flip() ? '' : "'@.&<",
    lowercase: flip(),
    whitespace: flip() ? 'collapse' : 'keep',
    normalize: (['NFC', 'NFKC', 'none'] as const)[Math.floor(draw() * 3)]!,
  };
}

export function sameBeginnings(texts: number): void {
  let cut = 0;
  let kept = 0;
  for (let n = 0; n < texts; n++) {
    const text = randomText(n, 60);
    const options = optionsOf(n);
    for (const share of [0.2, 0.4, 0.6, 0.8]) {
      const begun = beginning(text, Math.floor(text.length * share));
      if (!begun.more) continue;
      const clean = cleanBeginning(begun.text, options);
      // The text itself, and two others that begin so: the next letter alone is as it was.
      const next = text[begun.text.length]!;
      for (const whole of [text, begun.text + next + randomText(-n, 20), begun.text + next]) {
        if (!cleanText(whole, options).startsWith(clean))
          throw new Error(JSON.stringify({ n, share, options, begun: begun.text, whole, clean, cleaned: cleanText(whole, options) }));
      }
      cut++;
      kept += clean.length > 0 ? 1 : 0;
    }
  }
  expect(cut).toBeGreaterThan(0.8 * texts);
  expect(kept / cut).toBeGreaterThan(0.7);
}

export async function sameSequences(name: string): Promise<void> {
  const folder = join(import.meta.dirname, '../../../golden/tokenizer', name);
  const whole = await openTokenizer(folder, {});
  for (let n = 0; n < 40; n++) {
    const max_length = 5 + (n % 14);
    const preprocessing: Preprocessing =
      n % 4 === 0 ? [] : n % 4 === 1 ? [{ clean: optionsOf(n) }, { clean: optionsOf(-n) }] : [{ clean: optionsOf(n) }];
    const encoder = await openEncoder({ folder, task: 'text-classification', encoding: { max_length }, preprocessing, padTokenId: 0 });
    const cleanTokens = async (text: string) => {
      const [sequence] = await whole.encode([await preprocess(text, preprocessing)]);
      return sequence!.ids.filter((_, i) => sequence!.sequenceIds[i] === 0);
    };
    for (let k = 0; k < 6; k++) {
      const text = randomText(1000 * n + k, 30 + 40 * k);
      const own = await cleanTokens(text);
      const { sequences } = await encoder.encode({ text });
      const { ids, sequenceIds, truncated } = sequences[0]!;
      const kept = ids.filter((_, i) => sequenceIds[i] === 0);
      const around = own.length === 0 ? 0 : ids.length - kept.length;
      const about = JSON.stringify({ n, k, text });
      if (own.length > 0) expect(kept, about).toEqual(own.slice(0, max_length - around));
      expect(truncated, about).toBe(own.length > kept.length);

      const pair = randomText(1000 * n + k + 500, k % 2 === 0 ? 3 : 100);
      const other = await cleanTokens(pair);
      const paired = (await encoder.encode({ text, text_pair: pair })).sequences[0]!;
      const [a, b] = [0, 1].map((text) => paired.ids.filter((_, i) => paired.sequenceIds[i] === text)) as [number[], number[]];
      const room = max_length - (paired.ids.length - a.length - b.length);
      if (own.length + other.length === 0) continue;
      const less = Math.min(own.length, other.length, Math.floor(room / 2));
      const fits = own.length + other.length <= room;
      const lengths = fits ? [own.length, other.length] : own.length > other.length ? [room - less, less] : [less, room - less];
      expect([a, b], `${about} and ${JSON.stringify(pair)}`).toEqual([own.slice(0, lengths[0]), other.slice(0, lengths[1])]);
    }
  }
}
