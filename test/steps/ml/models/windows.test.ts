/**
 * Truncation, pair templates, windows and offsets of unusual texts, as in transformers' fast tokenizers
 * (test/golden/windows.py).
 */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openTokenizer, type Sequence, type Truncation, windowsOf } from '../../../../steps/ml/models/tokenizer.ts';
import { temporary } from '../../rig.ts';

const golden = join(import.meta.dirname, '../../../golden/tokenizer');
type Window = [ids: number[], sequenceIds: (number | null)[], typeIds: number[], offsets: [number, number][]];
type Row = [text: string, pair: string | null, maxLength: number, strategy: Truncation, stride: number | null, windows: Window[] | null];

describe.each([
  ['bert-uncased', 'right'],
  ['roberta', 'right'],
  ['gpt2', 'right'],
  ['unigram', 'right'],
  ['bert-uncased', 'left'],
  ['gpt2', 'left'],
] as const)('%s, truncated on the %s', (name, side) => {
  const rows: Row[] = JSON.parse(readFileSync(join(golden, name, side === 'right' ? 'windows.json' : 'windows-left.json'), 'utf8'));
  const folder = join(golden, name);

  test.each(rows.map((row, i) => [i, `${JSON.stringify(row[0]).slice(0, 24)} ${row[3]} ${row[4] ?? ''}`, row] as const))(
    '%i: %s',
    async (_i, _title, [text, pair, maxLength, strategy, stride, windows]) => {
      const tokenizer = await openTokenizer(
        side === 'right' ? folder : truncatingLeft(folder),
        stride === null ? { maxLength, truncation: strategy } : {},
      );
      const encode = () => (pair === null ? tokenizer.encode([text]) : tokenizer.encodePairs([[text, pair]]));
      if (windows === null && stride === null)
        return await expect(encode()).rejects.toThrow(/shortens only the (first|second) text, but the|does not fit/);
      const [whole] = await encode();
      const around = whole!.sequenceIds.filter((id) => id !== (whole!.sequenceIds.includes(1) ? 1 : 0)).length;
      if (windows === null && around >= maxLength && whole!.ids.length > maxLength)
        return expect(() => windowsOf(whole!, { maxLength, stride: stride!, truncationSide: 'right' })).toThrow('has no room');
      const ours = stride === null ? [whole!] : windowsOf(whole!, { maxLength, stride, truncationSide: tokenizer.truncationSide });
      // If the question leaves no more room than the stride, the library aborts Python; ours still reads the whole
      // context.
      if (windows === null) return expect(new Set(ours.flatMap(tokensOfPair))).toEqual(new Set(tokensOfPair(whole!)));
      const expected = windows.map((window) => inCodeUnits(window, text, pair ?? ''));
      // From the second window on, the library gives a pair's own text the type 1 even if the template has 0.
      if (name === 'unigram') for (const window of expected) window[2].fill(0);
      // There the last window comes first.
      if (side === 'left') expected.reverse();
      expect(ours.map(shown)).toEqual(expected);
    },
  );
});

/** In Python the option is an attribute; a folder has it in tokenizer_config.json. */
function truncatingLeft(from: string): string {
  const folder = temporary();
  cpSync(from, folder, { recursive: true });
  const file = join(folder, 'tokenizer_config.json');
  const config = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  writeFileSync(file, JSON.stringify({ ...config, truncation_side: 'left' }));
  return folder;
}

const shown = ({ ids, sequenceIds, typeIds, spans }: Sequence): Window => [ids, sequenceIds, typeIds, spans];

/** The tokens of the second text, each with its position, because they may repeat. */
const tokensOfPair = ({ ids, sequenceIds, spans }: Sequence): string[] =>
  ids.flatMap((id, i) => (sequenceIds[i] === 1 ? [`${id} ${spans[i]}`] : []));

/** Python counts code points. */
function inCodeUnits([ids, sequenceIds, typeIds, offsets]: Window, ...texts: string[]): Window {
  const units = (text: string, points: number): number => [...text].slice(0, points).join('').length;
  const spans = offsets.map((span, i) => span.map((at) => units(texts[sequenceIds[i] ?? 0]!, at)) as [number, number]);
  return [ids, sequenceIds, typeIds, spans];
}
