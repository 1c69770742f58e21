/** A report, independent of its format: sections of blocks. html.ts and markdown.ts write it. */

export interface Report {
  title: string;
  /** Lines below the title: the run, the time, the commit. */
  about: string[];
  /** What is missing, and why. */
  missing: string[];
  sections: Section[];
}

export interface Section {
  /** The anchor. */
  id: string;
  title: string;
  blocks: Block[];
}

export type Block = Note | Folded | Heading | HeadlineFigures | Table | Matrix | Picture | Examples;

export interface Note {
  kind: 'note';
  text: string;
  tone?: 'good' | 'bad';
}

/** Details that a reader opens. */
export interface Folded {
  kind: 'folded';
  summary: string;
  blocks: Note[];
}

export interface Heading {
  kind: 'heading';
  text: string;
}

/** The most important numbers. */
export interface HeadlineFigures {
  kind: 'figures';
  figures: { name: string; value: string; interval?: string; note?: string }[];
}

export interface TableCell {
  text: string;
  /** The anchor of examples. */
  to?: string;
  tone?: 'good' | 'bad';
  /** From 0 to 1, for a bar. */
  share?: number;
}

export interface Table {
  kind: 'table';
  caption: string;
  header: string[];
  rows: (string | TableCell)[][];
  /** Columns with numbers. */
  numeric: number[];
  /** How much is left out. */
  more?: string;
}

/** A confusion matrix: rows are true labels, columns are predicted labels. */
export interface Matrix {
  kind: 'matrix';
  caption: string;
  labels: string[];
  counts: number[][];
  /** The anchor of the examples of a cell, if there are some. */
  to(row: number, column: number): string | undefined;
}

export interface Picture {
  kind: 'picture';
  /** For the name of the file in Markdown, and for anchors. */
  name: string;
  title: string;
  /** What the picture shows, for readers who do not see it. */
  description: string;
  /** An SVG element. Its colors are variables of the page. */
  svg: string;
  /** The picture has its own styles, which must not apply to the page. */
  closed?: boolean;
  /** The same values. */
  table?: Table;
}

/** A part of a text; `level` from −4 to 4: how much it lowers or raises the score. */
export interface MarkedPart {
  text: string;
  level?: number;
}

export interface ShownExample {
  facts: [name: string, value: string][];
  fields: { name?: string; parts: MarkedPart[] }[];
  /** The strongest tokens in words. */
  notes: string[];
}

export interface Examples {
  kind: 'examples';
  /** The anchor. */
  id?: string;
  heading: string;
  examples: ShownExample[];
  more?: string;
}

export const note = (text: string, tone?: Note['tone']): Note => ({ kind: 'note', text, ...(tone && { tone }) });

/** Four significant digits; `n/a` for an undefined value. */
export function shown(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return 'n/a';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString('en-US');
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  if (size >= 1000) return value.toLocaleString('en-US', { maximumFractionDigits: 1 });
  return String(Number(value.toPrecision(4)));
}

export const percent = (share: number | null | undefined): string =>
  share === null || share === undefined || Number.isNaN(share) ? 'n/a' : `${Number((100 * share).toPrecision(3))}%`;

export const count = (value: number): string => value.toLocaleString('en-US');

/** `3 rows`, `1 row`. */
export const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

/** Text of data as it can be shown: control characters become visible symbols, and halves of characters are replaced. */
export function visible(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(CONTROLS, (c) => (c === '\u007f' ? '\u2421' : c < ' ' ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : '\ufffd'));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff]/g;

/** The beginning of a text, and how much was left out. A character is never cut. `unread`: characters behind the text. */
export function beginning(text: string, most: number, unread = 0): string {
  if (text.length <= most && unread === 0) return text;
  const end = text.length <= most ? text.length : CHARACTERS.segment(text.slice(0, most + LONGEST_CHARACTER)).containing(most)!.index;
  const left = [...text.slice(end)].length + unread;
  return `${text.slice(0, end)} … (+ ${counted(left, 'character')})`;
}

const CHARACTERS = new Intl.Segmenter('en');

/** Code units, such as those of an emoji of several people. */
const LONGEST_CHARACTER = 64;
