/**
 * Extracts the text of a mail: removes headers and attachments, decodes MIME parts, converts HTML to plain text. Spam
 * breaks every rule of mail, so it extracts whatever it can.
 */

import type { HtmlToTextOptions } from 'html-to-text';

interface Mail {
  text: string;
  subject: string | null;
  /** Address of the sender. */
  sender: string | null;
}

/** @param source the bytes of a mail, or a text that another program made of them */
export async function decodeMail(source: Uint8Array | string): Promise<Mail> {
  const mail = await decodeOnce(source);
  // A body that begins as a mail (a forwarded one) is decoded too, so that decoding is idempotent.
  for (let depth = 0; depth < DEEPEST && isMail(mail.text); depth++) mail.text = (await decodeOnce(mail.text)).text;
  return mail;
}

/** Deeper nesting is an attempt to exhaust the reader. */
const DEEPEST = 3;

async function decodeOnce(source: Uint8Array | string): Promise<Mail> {
  const { default: PostalMime } = await import('postal-mime');
  const mail = await PostalMime.parse(typeof source === 'string' ? escapeCharacters(withoutEnvelope(source)) : source);
  const text = mail.text?.trim() ? mail.text : mail.html ? await htmlToText(mail.html) : '';
  const finish = typeof source === 'string' ? unescapeCharacters : (part: string) => part;
  return {
    text: finish(text).replace(/\r\n?/g, '\n').trim(),
    subject: mail.subject ? finish(mail.subject) : null,
    sender: mail.from?.address ? finish(mail.from.address) : null,
  };
}

/** Whether a text begins like a whole mail: a block of headers, at least two of them those of mails, and an empty line. */
export function isMail(text: string): boolean {
  const [head = ''] = withoutEnvelope(text.replace(/^\s+/, ''))
    .slice(0, LONGEST_HEAD)
    .split(/\r?\n\r?\n/, 1);
  const lines = head.split(/\r?\n/);
  const names = new Set(lines.flatMap((line) => /^([!-9;-~]+)[ \t]*:/.exec(line)?.[1]?.toLowerCase() ?? []));
  return lines.every((line) => /^[ \t]|^[!-9;-~]+[ \t]*:/.test(line)) && USUAL.filter((name) => names.has(name)).length >= 2;
}

const LONGEST_HEAD = 1 << 17;

const USUAL = ['from', 'to', 'subject', 'date', 'received', 'return-path', 'message-id', 'mime-version', 'content-type'];

/** The line that mail folders put before each mail: `From joe@example.org Mon Jan 5 10:20:30 2009`. */
export function isEnvelope(line: string): boolean {
  const written = line.trimEnd();
  if (!/^From \S/.test(written) || !/\d{4}$/.test(written)) return false;
  // A single expression would backtrack on a long line.
  const time = /\b\d\d:\d\d\b/g;
  time.lastIndex = 'From x'.length;
  return time.test(written) && time.lastIndex <= written.length - 4;
}

function withoutEnvelope(text: string): string {
  const end = text.indexOf('\n');
  return isEnvelope(text.slice(0, end)) ? text.slice(end + 1) : text;
}

/**
 * A text contains characters, not bytes: the charset that the mail declares no longer applies to them, only to base64
 * and quoted-printable parts. Written in ASCII, they pass unchanged through the decoding of any charset.
 */
function escapeCharacters(text: string): string {
  return text.replace(/[^\p{ASCII}]/gu, (character) => `${opening}${character.codePointAt(0)!.toString(16)}${closing}`);
}

function unescapeCharacters(text: string): string {
  return text.replace(escaped, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)));
}

const [opening, closing] = ['\x01', '\x02'];

const escaped = new RegExp(`${opening}([0-9a-f]{2,6})${closing}`, 'g');

let converter: ((html: string) => string) | undefined;

/** Its library is a hundred files, which a step that reads no HTML does not load. */
async function htmlToText(html: string): Promise<string> {
  converter ??= (await import('html-to-text')).compile(CONVERSION);
  return converter(html);
}

const CONVERSION: HtmlToTextOptions = {
  wordwrap: false,
  // Deeper nesting is an attack on the reader.
  limits: { maxDepth: 500, maxInputLength: undefined },
  selectors: [
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, options: { uppercase: false } })),
  ],
};
