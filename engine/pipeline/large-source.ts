/**
 * Reads a large pipeline file step by step. A YAML parser holds several objects for each word until it is done. For a file with
 * many thousand steps, it would spend most of its time on garbage collection. Such files are written by programs, so most of
 * their steps have the same form as others.
 */

import { isAlias, isMap, isScalar, isSeq, type Schema } from 'yaml';
import { isTreeMap, type Tree } from './literals.ts';

/** A parsed text without errors. */
export interface Parsed {
  contents: unknown;
  tags: Schema['tags'];
  /** Whether it is a map with a `<<`. */
  merges: boolean;
  /** The plain value of a node; undefined if a file must not contain it. */
  valueOf(node: unknown): Tree | undefined;
  /** The text of a key; undefined if it is no text or is `<<`. */
  keyOf(node: unknown): string | undefined;
}

/** Parses a self-contained piece; undefined if it has an error or refers to another piece, for example by an alias. */
type ParsePiece = (text: string) => Parsed | undefined;

/** The value of the file; undefined if it must be read as a whole, which also reports its errors. */
export function readInPieces(text: string, parse: ParsePiece): Tree | undefined {
  // A piece would not know the directives of the file.
  const region = text.startsWith('%') || text.includes('\n%') || text.includes('\0') ? undefined : stepsIn(text);
  if (!region) return undefined;
  const frame = wholeValue(parse(text.slice(0, region.start) + text.slice(region.end)));
  if (!isTreeMap(frame) || frame.steps !== null) return undefined;
  const steps = readSteps(text, region, parse);
  return steps && { ...frame, steps: Object.fromEntries(steps) };
}

function wholeValue(parsed: Parsed | undefined): Tree | undefined {
  return parsed?.valueOf(parsed.contents);
}

interface Region {
  start: number;
  end: number;
}

/** The text below `steps:`, up to the next key of the file. */
function stepsIn(text: string): Region | undefined {
  const key = /^steps:[ \t]*(?:#.*)?\r?\n/m.exec(text);
  if (!key) return undefined;
  const start = key.index + key[0].length;
  const next = /^[^\s#]/gm;
  next.lastIndex = start;
  return { start, end: next.exec(text)?.index ?? text.length };
}

function readSteps(text: string, region: Region, parse: ParsePiece): Map<string, Tree> | undefined {
  const starts = startsIn(text, region);
  if (!starts) return undefined;
  const steps = new Map<string, Tree>();
  const add = (found: Tree | undefined) => {
    if (!isTreeMap(found)) return false;
    for (const name of Object.keys(found)) {
      if (steps.has(name)) return false;
      steps.set(name, found[name]!);
    }
    return true;
  };
  const forms = new Forms(parse);
  // Steps without a form are parsed in groups.
  let [pending, count] = [region.start, 0];
  const parsePending = (end: number) => {
    const piece = text.slice(pending, end);
    [pending, count] = [end, 0];
    if (piece === '') return true;
    const parsed = parse(piece);
    // Steps that are merged into the map of steps come before all others, so the file must be read as a whole.
    return add(parsed?.merges ? undefined : wholeValue(parsed));
  };
  for (const [i, start] of starts.entries()) {
    const end = starts[i + 1] ?? region.end;
    const found = forms.read(text.slice(start, end));
    if (found === undefined) {
      if (++count === STEPS && !parsePending(end)) return undefined;
      continue;
    }
    if (!parsePending(start) || !add(found)) return undefined;
    pending = end;
  }
  return parsePending(region.end) ? steps : undefined;
}

/**
 * The start of each step: a line that is indented like the first one. Comments before the first step belong to it.
 * Undefined if a line is indented less, or begins with the mark of a list or of an explicit key.
 */
function startsIn(text: string, { start, end }: Region): number[] | undefined {
  const first = /^( +)[^\s#]/m.exec(text.slice(start, end));
  if (!first) return undefined;
  const indent = first[1]!.length;
  const starts: number[] = [];
  for (let line = start; line < end; line = text.indexOf('\n', line) + 1 || end) {
    let at = line;
    while (text[at] === ' ') at++;
    if (at - line > indent || at >= end || '#\r\n'.includes(text[at]!)) continue;
    if (at - line < indent || /[-?:]/.test(text[at]!)) return undefined;
    starts.push(starts.length === 0 ? start : line);
  }
  return starts;
}

/** Maximum number of steps in a group. */
const STEPS = 200;

/**
 * Parses each form once. Steps that differ only in their words (`s1: { run: echo 1 }`, `s2: { run: echo 2 }`) have the same form,
 * which the YAML library parses with a mark instead of each word. The result shows in which value each word ends up. This is
 * enough to read any step of the form, because the grammar of YAML does not depend on the letters and digits of a word, except
 * in the cases below, which have no form.
 */
class Forms {
  readonly #plans = new Map<string, Plan | undefined>();
  readonly #scalars = new Map<string, Tree>();
  #tags: Schema['tags'] = [];

  constructor(readonly parse: (text: string) => Parsed | undefined) {}

  /** The value of a self-contained text; undefined if the library must read it, because it has no form or has an error. */
  read(text: string): Tree | undefined {
    // Longer keys are errors, and escapes are no words.
    if (text.length > LONGEST || (text.includes('\\') && text.includes('"'))) return undefined;
    const form = text.replace(WORD, MARK);
    let plan = this.#plans.get(form);
    if (!plan && !this.#plans.has(form)) {
      plan = this.#planOf(form);
      if (this.#plans.size === MOST) this.#plans.clear();
      this.#plans.set(form, plan);
    }
    return plan && this.#fill(plan, text.match(WORD) ?? []);
  }

  #planOf(form: string): Plan | undefined {
    let count = 0;
    const parsed = this.parse(form.replaceAll(MARK, () => marked(count++)));
    if (!parsed) return undefined;
    this.#tags = parsed.tags;
    return planOf(parsed.contents, parsed);
  }

  #fill(plan: Plan, words: string[]): Tree | undefined {
    switch (plan.kind) {
      case 'constant':
        return plan.value;
      case 'text':
        return joined(plan.parts, words);
      case 'plain':
        return this.#scalar(joined(plan.parts, words));
      case 'list': {
        const list: Tree[] = [];
        for (const item of plan.items) {
          const value = this.#fill(item, words);
          if (value === undefined) return undefined;
          list.push(value);
        }
        return list;
      }
      case 'map': {
        const map: { [key: string]: Tree } = {};
        for (const entry of plan.entries) {
          const key = joined(entry.key, words);
          if (key !== entry.last) entry.last = key;
          const value = this.#fill(entry.value, words);
          // Duplicate keys are errors, and properties such as __proto__ cannot simply be assigned.
          if (value === undefined || map[entry.last] !== undefined) return undefined;
          map[entry.last] = value;
        }
        return map;
      }
    }
  }

  /** A plain scalar: text, unless the library reads it as another type, such as a number. */
  #scalar(text: string): Tree | undefined {
    if (!this.#tags.some((tag) => tag.default === true && 'test' in tag && tag.test?.test(text))) return text;
    let value = this.#scalars.get(text);
    if (value === undefined) {
      const parsed = this.parse(text);
      value = parsed?.valueOf(parsed.contents);
      if (value === undefined) return undefined;
      if (this.#scalars.size === MOST) this.#scalars.clear();
      this.#scalars.set(text, value);
    }
    return value;
  }
}

/** Maximum number of characters. Implicit keys in YAML have the same limit. */
const LONGEST = 1000;
const MOST = 2000;
/**
 * A word may contain characters that YAML reads as text inside a word: `out/1.txt`. Words of one character are not replaced,
 * because the lexer interprets the first character of a line and the next one.
 */
const WORD = /\w[\w./-]*\w/g;
/** Not part of any text, because files with a NUL character are refused. */
const MARK = '\0';

function marked(index: number): string {
  return `q${index}q`;
}

const MARKED = /q(\d+)q/;

/** Undefined if the value depends on more than the words: on an anchor, an alias, a tag or a merge. */
function planOf(node: unknown, parsed: Parsed): Plan | undefined {
  const { anchor, tag } = Object(node) as { anchor?: string; tag?: string };
  if (anchor !== undefined || tag !== undefined || isAlias(node)) return undefined;
  if (isSeq(node)) {
    const items = node.items.map((item) => planOf(item, parsed));
    return items.every((item) => item !== undefined) ? { kind: 'list', items } : undefined;
  }
  if (isMap(node)) {
    const entries: Entry[] = [];
    for (const pair of node.items) {
      const key = parsed.keyOf(pair.key);
      const value = planOf(pair.value, parsed);
      if (key === undefined || value === undefined || planOf(pair.key, parsed) === undefined) return undefined;
      entries.push({ key: partsOf(key), last: '', value });
    }
    return { kind: 'map', entries };
  }
  if (isScalar(node) && typeof node.value === 'string') {
    const parts = partsOf(node.value);
    if (parts.some((part) => typeof part === 'number')) return { kind: node.type === 'PLAIN' ? 'plain' : 'text', parts };
  }
  const value = parsed.valueOf(node);
  return value === undefined ? undefined : { kind: 'constant', value };
}

function partsOf(text: string): Parts {
  return text
    .split(MARKED)
    .map((part, i) => (i % 2 === 1 ? Number(part) : part))
    .filter((part) => part !== '');
}

function joined(parts: Parts, words: string[]): string {
  let text = '';
  for (const part of parts) text += typeof part === 'number' ? words[part]! : part;
  return text;
}

/** The positions of the words of a text in its value. */
type Plan =
  | { kind: 'constant'; value: Tree }
  | { kind: 'text'; parts: Parts }
  | { kind: 'plain'; parts: Parts }
  | { kind: 'list'; items: Plan[] }
  | { kind: 'map'; entries: Entry[] };

interface Entry {
  key: Parts;
  /** The key of the previous step, which the next one usually has, too. Comparing identical strings is faster. */
  last: string;
  value: Plan;
}

/** Texts and indexes of words, in order. */
type Parts = (string | number)[];
