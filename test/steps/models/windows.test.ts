/** Truncation, pair templates, windows and offsets of nasty texts, as transformers' fast tokenizers give them (test/golden/windows.py). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openTokenizer, type Sequence, type Truncation, windowsOf } from '../../../steps/models/tokenizer.ts';

const golden = join(import.meta.dirname, '../../golden/tokenizer');

type Window = [ids: number[], sequenceIds: (number | null)[], typeIds: number[], offsets: [number, number][]];
type Row = [text: string, pair: string | null, maxLength: number, strategy: Truncation, stride: number | null, windows: Window[] | null];

describe.each(['bert-uncased', 'roberta', 'gpt2', 'unigram'])('%s', (name) => {
  const rows: Row[] = JSON.parse(readFileSync(join(golden, name, 'windows.json'), 'utf8'));

  test.each(rows.map((row, i) => [i, `${JSON.stringify(row[0]).slice(0, 24)} ${row[3]} ${row[4] ?? ''}`, row] as const))(
    '%i: %s',
    async (_i, _title, [text, pair, maxLength, strategy, stride, windows]) => {
      const tokenizer = await openTokenizer(join(golden, name), stride === null ? { maxLength, truncation: strategy } : {});
      const encode = () => (pair === null ? tokenizer.encode([text]) : tokenizer.encodePairs([[text, pair]]));
      if (windows === null && stride === null) return await expect(encode()).rejects.toThrow(/cannot make a pair/);
      const [whole] = await encode();
      const around = whole!.sequenceIds.filter((id) => id !== 1).length;
      if (windows === null && around >= maxLength && whole!.ids.length > maxLength)
        return expect(() => windowsOf(whole!, { maxLength, stride: stride!, truncationSide: 'right' })).toThrow('has no room');
      const ours = stride === null ? [whole!] : windowsOf(whole!, { maxLength, stride, truncationSide: tokenizer.truncationSide });
      // Where the question leaves no more room than the stride, the library ends Python; ours still reads the whole context.
      if (windows === null) return expect(new Set(ours.flatMap(tokensOfPair))).toEqual(new Set(tokensOfPair(whole!)));
      const expected = windows.map((window) => inCodeUnits(window, text, pair ?? ''));
      // From the second window on, the library gives a pair's own text the type 1 even if the template says 0.
      if (name === 'unigram') for (const window of expected) window[2].fill(0);
      expect(ours.map(shown)).toEqual(expected);
    },
  );
});

const shown = ({ ids, sequenceIds, typeIds, spans }: Sequence): Window => [ids, sequenceIds, typeIds, spans];

/** The tokens of the second text, each with its place, for they may repeat. */
const tokensOfPair = ({ ids, sequenceIds, spans }: Sequence): string[] =>
  ids.flatMap((id, i) => (sequenceIds[i] === 1 ? [`${id} ${spans[i]}`] : []));

/** Python counts code points. */
function inCodeUnits([ids, sequenceIds, typeIds, offsets]: Window, ...texts: string[]): Window {
  const units = (text: string, points: number): number => [...text].slice(0, points).join('').length;
  const spans = offsets.map((span, i) => span.map((at) => units(texts[sequenceIds[i] ?? 0]!, at)) as [number, number]);
  return [ids, sequenceIds, typeIds, spans];
}
