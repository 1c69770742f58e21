/**
 * Takes the HTML out of a text in one pass.
 *
 * What was read is pushed onto the output unit by unit, and whatever the output's end then completes (a tag, a comment,
 * a script, an entity) is cut off again. So nothing complete is ever left, however pieces join: doing it again changes nothing.
 */

/**
 * @param unify is applied to each character that an entity stands for
 * @param gone is called for each piece that went
 * @param comments whether `<!--` reaches to `-->`
 */
export function removeHtml(text: string, unify: (character: string) => string, gone: () => void, comments = true): string {
  if (!/[<&]/.test(text)) return text;
  const out: number[] = [];
  /** Positions of each `<` in the output that a `>` may still close, and of each `>` that closed nothing: no tag reaches across it. */
  const open: number[] = [];
  /** Where the first unclosed comment, script and style begin in the output; -1 for none. */
  let comment = -1;
  const raw: Record<string, number> = { script: -1, style: -1 };

  const tail = (from: number) => String.fromCharCode(...out.slice(from, from + 64));
  const cut = (to: number) => {
    out.length = to;
    while (open.length > 0 && open.at(-1)! >= to) open.pop();
    if (comment >= to) comment = -1;
    for (const name of ['script', 'style']) if (raw[name]! > to) raw[name] = -1;
  };

  /** Pushes one unit; returns what is to be pushed next in its place, if it completed something. */
  const push = (unit: number): string => {
    out.push(unit);
    if (unit === lessThan) open.push(out.length - 1);
    else if (unit === hyphen && comments && comment < 0 && endsWith(out, '<!--')) comment = out.length - 4;
    else if (unit === greaterThan) return close();
    else if (unit === semicolon) return entity();
    return '';
  };

  const close = (): string => {
    if (comment >= 0 && out.length - 1 >= comment + 4 && endsWith(out, '-->')) {
      gone();
      cut(comment);
      return '';
    }
    const start = open.at(-1);
    if (start === undefined || start === comment || out[start] === greaterThan) return '';
    const first = out[start + 1]!;
    if (!isLetter(first) && first !== slash && first !== exclamation && first !== question) {
      open.push(out.length - 1);
      return '';
    }
    const head = tail(start + 1);
    if (isAddress(head, out, start)) {
      open.pop();
      out[start] = space;
      out[out.length - 1] = space;
      return '';
    }
    gone();
    cut(start);
    const [, closing, name = ''] = /^(\/?)([a-z][a-z0-9]*)/i.exec(head) ?? [];
    const element = name.toLowerCase();
    if (raw[element] !== undefined) {
      if (!closing && raw[element]! < 0) raw[element] = out.length;
      else if (closing && raw[element]! >= 0) {
        cut(raw[element]!);
        raw[element] = -1;
      }
    }
    return breaking.has(element) ? ' ' : '';
  };

  const entity = (): string => {
    const end = out.length - 1;
    let start = end - 1;
    while (start >= 0 && end - start < longestEntity && out[start] !== ampersand && isNameUnit(out[start]!)) start--;
    if (start < 0 || out[start] !== ampersand) return '';
    const character = characterOf(String.fromCharCode(...out.slice(start + 1, end)));
    if (character === undefined) return '';
    gone();
    cut(start);
    return unify(character);
  };

  // What a push gives back goes before the rest of the text. It may give back more: a stack, since entities can nest very deep.
  const pending: number[] = [];
  for (let i = 0; i < text.length || pending.length > 0; ) {
    const next = push(pending.length > 0 ? pending.pop()! : text.charCodeAt(i++));
    for (let j = next.length - 1; j >= 0; j--) pending.push(next.charCodeAt(j));
  }

  let result = '';
  for (let i = 0; i < out.length; i += 8192) result += String.fromCharCode(...out.slice(i, i + 8192));
  // A comment that never ends is none: its `<!` ends with the next `>`.
  return comment < 0 ? result : removeHtml(result, unify, gone, false);
}

const [lessThan, greaterThan, ampersand, semicolon, hyphen, slash, exclamation, question, space] = [...'<>&;-/!? '].map((character) =>
  character.charCodeAt(0),
) as [number, number, number, number, number, number, number, number, number];

const isLetter = (unit: number) => (unit | 32) >= 97 && (unit | 32) <= 122;

const isNameUnit = (unit: number) => isLetter(unit) || (unit >= 48 && unit <= 57) || unit === 35;

function endsWith(out: number[], text: string): boolean {
  for (let i = 0; i < text.length; i++) if (out[out.length - text.length + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** `<joe@example.org>` and `<http://example.org>` are no tags. */
function isAddress(head: string, out: number[], start: number): boolean {
  if (!/^[^\s<>]*(?:@|:\/\/|^www\.|^mailto:)/i.test(head)) return false;
  for (let i = start + 1; i < out.length - 1; i++) if (out[i] === space || (out[i]! >= 9 && out[i]! <= 13)) return false;
  return true;
}

/** Elements between whose texts there is a gap on the screen. Others, and made-up ones, part no word: `fr<b>ee</b>`, `fr<xyz>ee`. */
const breaking = new Set(
  `address article aside blockquote body br caption center col dd details dialog dir div dl dt fieldset figcaption figure footer form
  frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe img input legend li link main map menu meta nav noframes noscript ol
  optgroup option p pre script section select style summary table tbody td textarea tfoot th thead title tr ul video`.split(/\s+/),
);

/** The character of `amp`, `#65`, `#x41`. */
function characterOf(name: string): string | undefined {
  const [, hex, digits] = /^#(x?)([0-9a-f]+)$/i.exec(name) ?? [];
  if (digits === undefined) return named.get(name);
  if (!hex && /[a-f]/i.test(digits)) return undefined;
  const code = Number.parseInt(digits, hex ? 16 : 10);
  // Numbers 128–159 are meant as Windows-1252, as browsers take them.
  if (code >= 128 && code < 160) return windows1252[code - 128]!;
  return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : '\ufffd';
}

const windows1252 = '€\ufffd‚ƒ„…†‡ˆ‰Š‹Œ\ufffdŽ\ufffd\ufffd‘’“”•–—˜™š›œ\ufffdžŸ';

/** The longest that is looked back for: `&thetasym;`, `&#x10FFFF;`, and zeros before a number. */
const longestEntity = 16;

/** The entities of HTML 4. Latin-1's stand in the order of their codes, from 160. */
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
  thetasym ϑ upsih ϒ piv ϖ lang 〈 rang 〉`;

const named = new Map<string, string>([
  ...latin1.split(/\s+/).map((name, i) => [name, String.fromCharCode(160 + i)] as const),
  ...Array.from(others.matchAll(/(\w+) (.)/gsu), ([, name, character]) => [name!, character!] as const),
]);
