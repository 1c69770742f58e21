/** Cleaning: linear time for any text, and every character. */
import { expect, test } from 'vitest';
import { type CleaningOptions, cleanText, removables } from '../../../steps/ml/data/cleaning.ts';

const everything: CleaningOptions = {
  remove: [...removables],
  keep_characters: '',
  lowercase: true,
  whitespace: 'collapse',
  normalize: 'NFKC',
};

test.each([
  '<a',
  '<!--',
  '<!-- ',
  '<!-- --!>',
  '<a b="',
  '<a b=\'"',
  '<a b=\'<a c="',
  '<a b=">',
  '<style',
  '<style>',
  '<script></script b="',
  '<!-',
  '<style><script>',
  '</script>',
  '&amp;amp;',
  '&#59',
  'amp;',
  '&amp',
  'http://.',
  'www.',
  'www.,',
  '@a',
  'a',
  'a.',
  'a@b.',
  'é+',
  '1,a',
  '1',
  '.',
  '>',
  '<3 >',
  '<x@',
  '\u200b',
  '\u0301',
])('a long text of %j takes linear time', takesLinearTime, 60_000);

function takesLinearTime(piece: string): void {
  const text = piece.repeat(2 ** 20 / piece.length);
  // CPU time, not wall time: a busy machine must not fail this. Quadratic time would be minutes.
  const start = process.cpuUsage();
  cleanText(text, everything);
  cleanText(`${text};>`, { ...everything, remove: ['html'] });
  expect(process.cpuUsage(start).user / 1e6).toBeLessThan(10);
}

test('every character alone, and before a combining mark, is clean after one cleaning', () => {
  for (const normalize of ['NFC', 'NFKC', 'none'] as const)
    for (let code = 0; code < 0x20000; code++) {
      for (const text of [String.fromCodePoint(code), `${String.fromCodePoint(code)}\u030c`]) {
        const options = { ...everything, remove: [], whitespace: 'keep' as const, normalize };
        const once = cleanText(text, options);
        if (cleanText(once, options) !== once) expect({ code, normalize }).toBe('clean after one cleaning');
      }
    }
}, 120_000);
