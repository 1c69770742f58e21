/**
 * Removes HTML from a text in one pass, as an HTML tokenizer reads it.
 *
 * First it removes comments, scripts, styles and tags. Then it decodes the entities of the rest, exactly once. A
 * decoded entity is text: `&lt;b&gt;` becomes `<b>` and stays. So a text must not go through this twice. Where a
 * tokenizer would drop or guess, the text is kept: markup that never ends, `<joe@example.org>`, an entity without its
 * semicolon.
 */

/**
 * @param gone is called for each piece that was removed
 * @param more whether the text continues: what depends on its rest is left out, such as a tag without an end and all that follows it
 */
export function removeHtml(text: string, gone: () => void, more = false): string {
  if (!/[<&]/.test(text)) return text;
  let length = more ? text.length - (OPEN_ENTITY.exec(text.slice(-LONGEST_ENTITY))?.[0].length ?? 0) : text.length;
  const out: string[] = [];
  /** Where the text begins that is not in `out` yet. */
  let pending = 0;
  const replace = (start: number, end: number, replacement: string) => {
    out.push(decodeEntities(text.slice(pending, start), gone), replacement);
    pending = end;
  };
  const ends = new Ends(text);

  for (let start = text.indexOf('<'); start >= 0; ) {
    const piece = pieceAt(text, start, ends, gone);
    if (more && piece.open) {
      length = start;
      break;
    }
    if (piece.replacement !== undefined) replace(start, piece.end, piece.replacement);
    if (piece.removed) gone();
    start = text.indexOf('<', piece.end);
  }
  replace(length, length, '');
  return out.join('');
}

/** At the end of a text. */
const OPEN_ENTITY = /&#?[0-9a-z]{0,32}$/i;
const LONGEST_ENTITY = 40;

/** What begins with a `<`. Without a replacement it is text up to its end. An address is replaced, not removed. */
interface Piece {
  end: number;
  replacement?: string;
  removed?: boolean;
  /** Whether it depends on what follows the text. */
  open?: boolean;
}

function pieceAt(text: string, start: number, ends: Ends, gone: () => void): Piece {
  if (text.startsWith('<!--', start)) {
    const end = endOfEmptyComment(text, start) ?? ends.behind('comment', start + 4);
    return end === undefined ? { end: start + 4, open: true } : { end, replacement: '', removed: true };
  }
  const closing = text[start + 1] === '/';
  const from = start + (closing ? 2 : 1);
  if (!isLetter(text[from])) {
    if (!closing && text[from] !== '!' && text[from] !== '?') return { end: from, open: from === text.length };
    const end = text.indexOf('>', from);
    return end < 0 ? { end: text.length, open: true } : { end: end + 1, replacement: '', removed: true };
  }
  const address = closing ? undefined : addressAt(text, from);
  if (address !== undefined) return { end: from + address.length + 1, replacement: ` ${decodeEntities(address, gone)} ` };
  const { end, closed } = endOfTag(text, from);
  if (!closed) return { end, open: true };
  const name = nameAt(text, from);
  const raw = !closing && (name === 'script' || name === 'style');
  const rawEnd = raw ? ends.before(name, end) : undefined;
  // The end tag of a script adds the space.
  if (rawEnd !== undefined) return { end: rawEnd, replacement: '', removed: true };
  return { end, replacement: breaking.has(name) ? ' ' : '', removed: true, open: raw && rawEnd === undefined };
}

const endings = { comment: /--!?>/g, script: /<\/script(?=[\t\n\f\r />])/gi, style: /<\/style(?=[\t\n\f\r />])/gi };

/** Finds the end of comments, scripts and styles. It searches only once for an end that never comes, so that the time stays linear. */
class Ends {
  private readonly text: string;
  private readonly missing = new Set<string>();

  constructor(text: string) {
    this.text = text;
  }

  behind(what: keyof typeof endings, from: number): number | undefined {
    const match = this.find(what, from);
    return match && match.index + match[0].length;
  }

  before(what: keyof typeof endings, from: number): number | undefined {
    return this.find(what, from)?.index;
  }

  private find(what: keyof typeof endings, from: number): RegExpExecArray | undefined {
    if (this.missing.has(what)) return undefined;
    endings[what].lastIndex = from;
    const match = endings[what].exec(this.text);
    if (!match) this.missing.add(what);
    return match ?? undefined;
  }
}

/** `<!-->` and `<!--->` are comments too. */
function endOfEmptyComment(text: string, start: number): number | undefined {
  if (text[start + 4] === '>') return start + 5;
  return text.startsWith('->', start + 4) ? start + 6 : undefined;
}

/**
 * Finds the end of the tag whose name begins at `from`. A `>` within a quoted attribute does not end it. If a quote
 * is never closed, or no `>` follows, it is not a tag: `end` is then where to continue.
 */
function endOfTag(text: string, from: number): { end: number; closed: boolean } {
  let state: 'tag name' | 'between' | 'name' | 'after name' | 'before value' | 'value' = 'tag name';
  for (let i = from; i < text.length; i++) {
    const character = text[i]!;
    if (character === '>') return { end: i + 1, closed: true };
    if (isSpace(character)) {
      if (state === 'name') state = 'after name';
      else if (state === 'tag name' || state === 'value') state = 'between';
    } else if (state === 'before value') {
      state = 'value';
      if (character !== '"' && character !== "'") continue;
      const close = text.indexOf(character, i + 1);
      if (close < 0) return { end: i + 1, closed: false };
      i = close;
      state = 'between';
    } else if (character === '/') {
      if (state !== 'value') state = 'between';
    } else if (character === '=' && (state === 'name' || state === 'after name')) state = 'before value';
    else if (state === 'between' || state === 'after name') state = 'name';
  }
  return { end: text.length, closed: false };
}

const isLetter = (character: string | undefined) => character !== undefined && /[a-z]/i.test(character);

const isSpace = (character: string) => ' \t\n\f\r'.includes(character);

const elementName = /[^\t\n\f\r />]{1,16}/y;

function nameAt(text: string, from: number): string {
  elementName.lastIndex = from;
  return elementName.exec(text)![0].toLowerCase();
}

const endOfWord = /[\s<>]/g;

/** `<joe@example.org>` and `<http://example.org>` are not tags. */
function addressAt(text: string, from: number): string | undefined {
  endOfWord.lastIndex = from;
  const end = endOfWord.exec(text)?.index;
  if (end === undefined || text[end] !== '>') return undefined;
  const word = text.slice(from, end);
  return /^(?:[^"'@]*@|[^"':]*:\/\/|www\.|mailto:)/i.test(word) ? word : undefined;
}

/** Elements that browsers render with a gap between their texts. Others do not separate words: `fr<b>ee</b>`, `fr<xyz>ee`. */
const breaking = new Set(
  `address article aside blockquote body br caption center col dd details dialog dir div dl dt fieldset figcaption figure footer form
  frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe img input legend li link main map menu meta nav noframes noscript ol
  optgroup option p pre script section select style summary table tbody td textarea tfoot th thead title tr ul video`.split(/\s+/),
);

/** The longest name has eight letters; zeros may precede a number. */
const decodeEntities = (text: string, gone: () => void): string =>
  text.replace(/&(#?[0-9a-z]{1,32});/gi, (entity, name: string) => {
    const character = characterOf(name);
    if (character === undefined) return entity;
    gone();
    return character;
  });

/** The character of `amp`, `#65`, `#x41`. */
function characterOf(name: string): string | undefined {
  const [, hex, digits] = /^#(x?)([0-9a-f]+)$/i.exec(name) ?? [];
  if (digits === undefined) return named.get(name);
  if (!hex && /[a-f]/i.test(digits)) return undefined;
  const code = Number.parseInt(digits, hex ? 16 : 10);
  // As in browsers, the numbers 128–159 mean Windows-1252.
  if (code >= 128 && code < 160) return windows1252[code - 128]!;
  return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : '\ufffd';
}

const windows1252 = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ';

/** The entities of HTML 4, and the capitalized ones of HTML 5. Those of Latin-1 are in the order of their codes, from 160. */
const latin1 = `nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot
  cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute
  Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml
  aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute
  ucirc uuml yacute thorn yuml`;

const others = `quot " apos ' amp & lt < gt > OElig Œ oelig œ Scaron Š scaron š Yuml Ÿ fnof ƒ circ ˆ tilde ˜ ensp \u2002 emsp \u2003 thinsp \u2009
  zwnj \u200c zwj \u200d lrm \u200e rlm \u200f ndash – mdash — lsquo ‘ rsquo ’ sbquo ‚ ldquo “ rdquo ” bdquo „ dagger † Dagger ‡ bull • hellip …
  permil ‰ prime ′ Prime ″ lsaquo ‹ rsaquo › oline ‾ frasl ⁄ euro € image ℑ weierp ℘ real ℜ trade ™ alefsym ℵ larr ← uarr ↑ rarr → darr ↓ harr ↔
  crarr ↵ lArr ⇐ uArr ⇑ rArr ⇒ dArr ⇓ hArr ⇔ forall ∀ part ∂ exist ∃ empty ∅ nabla ∇ isin ∈ notin ∉ ni ∋ prod ∏ sum ∑ minus − lowast ∗ radic √
  prop ∝ infin ∞ ang ∠ and ∧ or ∨ cap ∩ cup ∪ int ∫ there4 ∴ sim ∼ cong ≅ asymp ≈ ne ≠ equiv ≡ le ≤ ge ≥ sub ⊂ sup ⊃ nsub ⊄ sube ⊆ supe ⊇
  oplus ⊕ otimes ⊗ perp ⊥ sdot ⋅ loz ◊ spades ♠ clubs ♣ hearts ♥ diams ♦ Alpha Α Beta Β Gamma Γ Delta Δ Epsilon Ε Zeta Ζ Eta Η Theta Θ Iota Ι
  Kappa Κ Lambda Λ Mu Μ Nu Ν Xi Ξ Omicron Ο Pi Π Rho Ρ Sigma Σ Tau Τ Upsilon Υ Phi Φ Chi Χ Psi Ψ Omega Ω alpha α beta β gamma γ delta δ epsilon ε
  zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ nu ν xi ξ omicron ο pi π rho ρ sigmaf ς sigma σ tau τ upsilon υ phi φ chi χ psi ψ omega ω
  thetasym ϑ upsih ϒ piv ϖ lang ⟨ rang ⟩ lceil ⌈ rceil ⌉ lfloor ⌊ rfloor ⌋
  AMP & LT < GT > QUOT " COPY © REG ®`;

const named = new Map<string, string>([
  ...latin1.split(/\s+/).map((name, i) => [name, String.fromCharCode(160 + i)] as const),
  ...Array.from(others.matchAll(/(\w+) (.)/gsu), ([, name, character]) => [name!, character!] as const),
]);

/** What a reader in another language needs, so that it removes the same. */
export const MARKUP = { entities: Object.fromEntries(named), breaking: [...breaking], windows1252 };
