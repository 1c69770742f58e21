/** Texts of pieces on which cleaning and tokenizing depend across a distance: marks, tags, addresses, runs without a space, tokens. */
import { random } from '../../../../steps/ml/models/random.ts';

const PIECES = [
  ...["it's", "they'll", 'The cat sat.', 'ΟΔΟΣ', "Σ'Σ", 'ΑΣ.', 'İstanbul', 'straße', 'ﬁn', 'Ａ＠ｂ．ｃ', 'ｈｔｔｐ：／／ｘ', '１２３'],
  ...[
    'a',
    'Z',
    'á',
    'e\u0301',
    'o\u0323\u0302',
    '=\u0338',
    '<\u0338',
    '\u0301',
    '\u0316',
    '\u0345',
    '\u3099',
    '\uff9e',
    '\u200d',
    '\ufe0f',
  ],
  ...[
    '日本語',
    'テキスト',
    'か\u3099',
    'ガ',
    '漢',
    '，',
    '。',
    '한국어',
    '\u1112\u1161\u11ab',
    '\u11a8',
    '하',
    'ภาษาไทย',
    'น้ำ',
    'नमस्ते',
    'क्ष',
    'ड\u093c',
  ],
  ...['Привет', 'й', 'שלום', 'العربية', '\u0600', 'لا\u064e', '😀', '👩‍👩‍👧', '🇩🇪', '🇫', '👍🏽', '\ud83d', '\ude00', '𐐀', '𝐀'],
  ...[
    '<p>',
    '</p>',
    '<b',
    '>',
    '<a href="x>y',
    '">',
    '<!--',
    '-->',
    '<script>',
    '</script>',
    '</scr',
    '<3',
    '<',
    '&',
    '&amp;',
    '&am',
    '&#64;',
    '&#x3c;',
  ],
  ...[
    '<joe@example.org>',
    'joe@example.org',
    '@',
    'joe.',
    '.org',
    'http',
    '://',
    'https://a.b/c',
    'www',
    '.',
    'www.x.y',
    'f',
    'tp://',
    'ſ',
    '/',
  ],
  ...['1', '1,000.50', '2002-08-22', 'mp3', 'h2o', '٣', '-', ':', '+', '=', '_', '%'],
  ...[' ', '  ', '\n', '\t', '\r\n', '\u00a0', '\u3000', '\u2028', '\ufeff', '\u00ad', '\u200b', '\0', '\u0085', ' \n '],
  ...[
    '[MASK]',
    '[SEP]',
    '[MA',
    'SK]',
    '<mask>',
    '<ma',
    'sk>',
    '<|endoftext|>',
    '<|endof',
    '</s>',
    '▁',
    '##',
    "'",
    "'re",
    '"',
    '!?',
    '…',
    '$',
  ],
];

/** The same text for the same number. */
export function randomText(number: number, pieces: number): string {
  const draw = random('text', number);
  const pick = <T>(list: T[]): T => list[Math.floor(draw() * list.length)]!;
  // Few kinds of pieces, so that long runs of a kind come about; and spaces more often in some texts.
  const kinds = Array.from({ length: 1 + Math.floor(draw() * 12) }, () => pick(PIECES));
  const spaces = draw() < 0.5 ? 0 : draw();
  let text = '';
  for (let i = 0; i < pieces; i++) {
    const piece = draw() < 0.1 ? pick(PIECES) : pick(kinds);
    text += draw() < 0.05 ? piece.repeat(1 + Math.floor(draw() * 40)) : piece;
    if (draw() < spaces) text += ' ';
  }
  return text;
}
