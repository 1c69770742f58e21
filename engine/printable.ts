/**
 * Text from elsewhere, fit for a terminal. File names, messages, data and what models write may hold characters that move the cursor,
 * colour the screen, ring the bell or turn the direction of writing: here they become visible escapes such as `\x1b`.
 */

/** Line ends and tabs stay. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (found) => (found === '\n' || found === '\t' ? found : escaped(found)));
}

/** The same on one line: for names. */
export function printableName(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** The same where colours may stay: sequences that only choose colour and weight (SGR). */
export function printableInColor(text: string): string {
  return text.replace(SGR_OR_UNPRINTABLE, (found) => (found === '\n' || found === '\t' || found.length > 1 ? found : escaped(found)));
}

/** JSON on one line: JSON itself escapes some of these characters and lets others pass. */
export function printableJson(value: unknown): string {
  return inJson(JSON.stringify(value));
}

export function inJson(json: string): string {
  return json.replace(UNPRINTABLE, (found) => `\\u${hex(found, 4)}`);
}

/** Cut where nobody reads on; `rest` says where all of it is. */
export function shortened(text: string, characters: number, rest = ''): string {
  if (text.length <= characters) return text;
  const cut = text.slice(0, characters).replace(/[\ud800-\udbff]$/, '');
  return `${cut}… (${(text.length - cut.length).toLocaleString('en-US')} more characters${rest})`;
}

/** A message of a step: it may be of any length, and its log has all of it. */
export function readableText(message: string): string {
  return printable(shortened(message, MOST, ': see the log'));
}

/** Characters of a message. */
const MOST = 2000;

/** Control characters (C0, DEL, C1), separators of lines and paragraphs, and what overrides or isolates a direction of writing. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
const SGR_OR_UNPRINTABLE = new RegExp(`\\u001b\\[[\\d;:]*m|${UNPRINTABLE.source}`, 'gu');

function escaped(character: string): string {
  const known = SHORT[character];
  return known ?? (character < '\u0100' ? `\\x${hex(character, 2)}` : `\\u${hex(character, 4)}`);
}

const SHORT: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0');
}
