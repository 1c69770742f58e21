/** Reads the paragraphs of documents in the formats that packages use: HTML, plain text, POD, dictionaries and games. */
import { gunzipSync } from 'node:zlib';
import { compile } from 'html-to-text';

/** Returns the paragraphs of a file, in its order, without headings, code and tables. */
export type Format = keyof typeof formats;

export function paragraphsOf(format: Format, file: Buffer): string[] {
  const bytes = file[0] === 0x1f && file[1] === 0x8b ? gunzipSync(file) : file;
  return formats[format](decode(bytes)).map((paragraph) => paragraph.replace(/\s+/g, ' ').trim());
}

const formats = {
  html: (text: string) => html(text).split(/\n{2,}/),
  /** Old pages that are laid out with tables. */
  'html-tables': (text: string) => htmlWithTables(text).split(/\n{2,}/),
  /** Paragraphs stand between empty lines; indented ones are code or tables. */
  text: (text: string) => text.split(/\n\s*\n/).filter((paragraph) => !/^(\s{4}|\t|[#=*|+-])/m.test(paragraph)),
  /** Plain text whose paragraphs may all be indented, such as entries of dictionaries. */
  indented: (text: string) => text.split(/\n\s*\n/),
  /** Perl's documentation: commands begin with `=`, code with white space, and `C<code>` marks words. */
  pod: (text: string) =>
    text
      .split(/\n\s*\n/)
      .filter((paragraph) => !/^[=\s]/.test(paragraph))
      .map(withoutPodMarks),
  /** GNOME's and KDE's help: the paragraphs of Mallard and DocBook. */
  xml: (text: string) =>
    [...text.matchAll(/<(p|para)(?:\s[^>]*)?>([\s\S]*?)<\/\1>/g)].map((match) => entities(match[2]!.replace(/<[^>]+>/g, ''))),
  /** Battle for Wesnoth: the translatable strings, in which a quotation mark is doubled. */
  wesnoth: (text: string) =>
    [...text.matchAll(/_\s*"((?:[^"]|"")*)"/g)].map((match) => match[1]!.replaceAll('""', "'").replace(/<[^>]+>/g, '')),
  /** Endless Sky: the strings between backquotes. */
  'endless-sky': (text: string) => [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!.replace(/<[^>]+>/g, 'it')),
  /** A plain text whose every line is a paragraph, perhaps after a number. */
  lines: (text: string) => text.split('\n').map((line) => line.replace(/^[^\p{L}"'“]*/u, '')),
};

const SKIPPED = ['img', 'pre', 'nav', 'header', 'footer', 'script', 'style', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'dt', 'form', 'svg'];
const PARAGRAPHS = ['p', 'li', 'dd', 'div'];

function compiled(skipped: string[], paragraphs: string[]) {
  return compile({
    wordwrap: false,
    baseElements: { selectors: ['main', 'article', '[role=main]', 'body'], orderBy: 'occurrence', returnDomByDefault: true },
    selectors: [
      ...skipped.map((selector) => ({ selector, format: 'skip' })),
      { selector: 'a', options: { ignoreHref: true } },
      ...paragraphs.map((selector) => ({ selector, format: 'paragraph' })),
    ],
  });
}

const html = compiled([...SKIPPED, 'table'], PARAGRAPHS);
const htmlWithTables = compiled(SKIPPED, [...PARAGRAPHS, 'table', 'tr', 'td']);

function withoutPodMarks(text: string): string {
  let previous: string;
  let current = text;
  do {
    previous = current;
    current = current.replace(/\b[BCEFILSXZ]<(?:<+ )?([^<>]*?)(?: >+)?>/g, '$1');
  } while (current !== previous);
  return current.includes('<') ? '' : current.replace(/\b([^\s|]+)\|[^\s"]+/g, '$1');
}

const NAMED: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };
const entities = (text: string) => text.replace(/&(\w+);/g, (_, name: string) => NAMED[name] ?? '');

/** UTF-8, or Latin-1 in old files. */
function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.includes('\uFFFD') ? bytes.toString('latin1') : text;
}
