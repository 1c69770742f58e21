import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type CleaningOptions, cleanText, removables } from '../../../../steps/ml/data/cleaning.ts';

const nothing: CleaningOptions = { remove: [], keep_characters: '', lowercase: false, whitespace: 'keep', normalize: 'none' };

const only = (...remove: CleaningOptions['remove']): CleaningOptions => ({ ...nothing, remove });

const everything: CleaningOptions = {
  remove: [...removables],
  keep_characters: '',
  lowercase: true,
  whitespace: 'collapse',
  normalize: 'NFKC',
};

test('without options a text does not change', () => {
  const text = ' <b>Hi</b>\u200b http://x.org  É 12 &amp; a@b.org\n';
  expect(cleanText(text, nothing)).toBe(text);
});

test.each([
  ['fr<b>e</b>e <i>now</i>', 'free now'],
  ['fr<!-- x > <b> -->ee', 'free'],
  ['fr<kqzx>ee', 'free'],
  ['one<br>two<p class="a">three</p>', 'one two three '],
  ['a<script type=x>if (a<b && c>d) alert("<p>")</script>b', 'a b'],
  ['<style>p { color: red }</style>x', ' x'],
  ['AT&amp;T &lt;3 &eacute; &#233; &#xe9; &#146; &unknown; &', 'AT&T <3 é é é ’ &unknown; &'],
  ['1 < 2 and 3 > 2', '1 < 2 and 3 > 2'],
  ['I <3 you > me', 'I <3 you > me'],
  ['<!-- never closed', '<!-- never closed'],
  ['<script>never closed', ' never closed'],
  ['&lt;b&gt;x', '<b>x'],
  ['&amp;amp;lt;b>x', '&amp;lt;b>x'],
  ['List&lt;String&gt; names', 'List<String> names'],
  ['why is a&lt;b when x and y&gt;0 ?', 'why is a<b when x and y>0 ?'],
  ['use &lt;div&gt; tag for layout', 'use <div> tag for layout'],
  ['x &amp; y &lt;b&gt;', 'x & y <b>'],
  ['he said &amp;lt;hi&amp;gt; ok', 'he said &lt;hi&gt; ok'],
  ['&lt;p&gt;', '<p>'],
  ['&lt;script&gt;x&lt;/script&gt; &lt;!-- y --&gt;', '<script>x</script> <!-- y -->'],
  ['&am<b>p;</b> &l<!-- -->t;', '&amp; &lt;'],
  ['<a title="x > y">link</a>', 'link'],
  ["<p title='a>b'>t</p>", ' t '],
  ['<a title = "x > y" >l</a> <a b=">"c>m</a>', 'l m'],
  ['<a title="never closed>text</a> on', '<a title="never closed>text on'],
  ['<a never="1" closed <b', '<a never="1" closed <b'],
  ['<!-- never closed <b>x</b> &lt;', '<!-- never closed x <'],
  ['a<!-->b<!--->c<!-- x --!>d', 'abcd'],
  ['<script>"</style>"</SCRIPT >a<style>x', ' a x'],
  ['<scripted>a</scripted>', 'a'],
  ['<http://x.org/?a=1&amp;b=2> <bounce+joe=x.org@y.org>', ' http://x.org/?a=1&b=2   bounce+joe=x.org@y.org '],
  ['<a/href="http://x.org">y', 'y'],
  ['Joe <joe@x.org> and <http://x.org/y>', 'Joe  joe@x.org  and  http://x.org/y '],
])('html: %j', (text, clean) => {
  expect(cleanText(text, only('html'))).toBe(clean);
});

test('html is removed before lower-casing: entities are case-sensitive, and full-width signs are not tags', () => {
  expect(cleanText('&Dagger; &Prime; &Eacute; ＜b＞ ＜&lt;', { ...only('html'), lowercase: true, normalize: 'NFKC' })).toBe(
    '‡ ′′ é <b> <<',
  );
});

test('html as in Python', () => {
  const cases: [string, string][] = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/html-text.json'), 'utf8'));
  expect(cases.length).toBeGreaterThan(290);
  expect(cases.map(([text]) => [text, cleanText(text, only('html'))])).toEqual(cases);
});

test.each([
  ['see http://x.org/a?b=c.', 'see  .'],
  ['(HTTPS://X.org/)', '( )'],
  ['www.x.org, awww.cute', ' , awww.cute'],
  ['<a href="http://x.org">', '<a href=" ">'],
  ['ftp://x.org:21/y http:// z', '  http:// z'],
])('urls: %j', (text, clean) => {
  expect(cleanText(text, only('urls'))).toBe(clean);
});

test('emails, numbers, special characters', () => {
  expect(cleanText('to joe.b+c@mail.x-y.org, é@ü.de; a@b', only('emails'))).toBe('to  ,  ; a@b');
  expect(cleanText('1,000.50 and 2002-08-22, mp3 h2o 4. ½', only('numbers'))).toBe('  and  , mp3 h2o  .  ');
  expect(cleanText('a$b! “c” naïve\u200b x_y', only('special_characters'))).toBe('a b   c  naïve x y');
  expect(cleanText('a$b! (c)', { ...only('special_characters'), keep_characters: '!$' })).toBe('a$b!  c ');
});

test('lower case, white space, Unicode', () => {
  expect(cleanText('ÀB', { ...nothing, lowercase: true })).toBe('àb');
  expect(cleanText('\t a \r\n\u00a0b ', { ...nothing, whitespace: 'collapse' })).toBe('a b');
  expect(cleanText('e\u0301 ﬁ', { ...nothing, normalize: 'NFC' })).toBe('é ﬁ');
  expect(cleanText('ﬁ Ａ', { ...nothing, normalize: 'NFKC' })).toBe('fi A');
  expect(cleanText('x\ud800y', nothing)).toBe('x\ufffdy');
});

test('counts what it removes', () => {
  const removed = { html: 0, urls: 0, emails: 0, special_characters: 0, numbers: 0 };
  cleanText('<p>&amp; http://x.org a@b.org !? 12 3\u200b', everything, removed);
  expect(removed).toEqual({ html: 2, urls: 1, emails: 1, special_characters: 4, numbers: 2 });
});

test('cleaning is idempotent; only HTML is removed once, because a decoded entity is text', () => {
  const random = generator(1);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const pieces = [
    ...'<>&;#!?/-_@.,:%+0123abzABZ \n\t"\'=()$^~',
    ...[
      '<!--',
      '-->',
      '</',
      '<b',
      '<br>',
      'script',
      '<script>',
      '</script>',
      'style',
      '&amp',
      'amp;',
      '&lt;',
      '&gt;',
      '&#',
      '&#38;',
      '&#x3c;',
      '&#59;',
      '#112',
    ],
    ...[
      'http://',
      'https:',
      '//',
      'www.',
      'ftp://',
      'x.org',
      'a@b.c',
      'mailto:',
      '@',
      '１',
      '½',
      'ℋ',
      '＜',
      '＞',
      '＠',
      '；',
      '&#65308;',
      '&#65018;',
    ],
    ...[
      '\u0301',
      '\u030c',
      'J',
      'Σ',
      'ς',
      'İ',
      'ı',
      'K',
      'ſ',
      'ß',
      '\u200b',
      '\u00ad',
      '\u0338',
      '\ud83d',
      '\ude00',
      '😀',
      '\u0000',
      '\ufeff',
      '\u0085',
      '¨',
      'ﷺ',
    ],
  ];
  const flip = () => random() < 0.5;
  for (let i = 0; i < 30_000; i++) {
    const options: CleaningOptions = {
      remove: removables.filter((what) => what !== 'html' && flip()),
      keep_characters: flip() ? '' : Array.from({ length: 8 }, () => pick([...'<>&;#!?/-_@.:%+"'])).join(''),
      lowercase: flip(),
      whitespace: pick(['collapse', 'keep']),
      normalize: pick(['NFC', 'NFKC', 'none']),
    };
    const text = Array.from({ length: 1 + Math.floor(random() * 14) }, () => pick(pieces)).join('');
    const once = cleanText(text, options);
    if (cleanText(once, options) !== once)
      expect({ text, options, once, cleanedTwice: cleanText(once, options) }).toEqual({ text, options, once, cleanedTwice: once });
  }
});

test.each(['<', '<script>', '&', 'http://', 'a@', '1,', 'e\u0301', ' '])('a megabyte of %j takes linear time', takesLinearTime, 60_000);

function takesLinearTime(piece: string): void {
  const text = piece.repeat(2 ** 20 / piece.length);
  // CPU time, not wall time: a busy machine must not fail this. Quadratic time would be minutes.
  const start = process.cpuUsage();
  cleanText(text, everything);
  cleanText(`${text};>`, { ...everything, remove: ['html'] });
  expect(process.cpuUsage(start).user / 1e6).toBeLessThan(10);
}

/** Mulberry32. */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
