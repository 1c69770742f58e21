/**
 * Steps that differ in nothing but their words (`s1: { run: echo 1 }`, `s2: { run: echo 2 }`) have one form, which the YAML
 * library parses once. It parses the form with a mark in the place of each word, and so says in which value each word ends
 * up. That is all a step of the form needs: no rule of YAML looks at the letters and digits of a word, except those below,
 * where there is no form.
 */
import { isAlias, isMap, isScalar, isSeq, type Schema } from 'yaml';
import type { Tree } from './literal.ts';

/** A text that was parsed, and that nothing is wrong with. */
export interface Parsed {
  contents: unknown;
  tags: Schema['tags'];
  /** Whether it is a map with a `<<`. */
  merges: boolean;
  /** Undefined where a value is none that a file can hold. */
  valueOf(node: unknown): Tree | undefined;
  /** Undefined where it is no text, or a `<<`. */
  keyOf(node: unknown): string | undefined;
}

/** Where the words of a text end up in its value. */
type Plan =
  | { kind: 'constant'; value: Tree }
  | { kind: 'text'; parts: Parts }
  | { kind: 'plain'; parts: Parts }
  | { kind: 'list'; items: Plan[] }
  | { kind: 'map'; entries: Entry[] };

interface Entry {
  key: Parts;
  /** The key of the step before, which most often is that of the next one: the same string is found faster than an equal one. */
  last: string;
  value: Plan;
}

/** Text and numbers of words by turns. */
type Parts = (string | number)[];

export class Forms {
  readonly #plans = new Map<string, Plan | undefined>();
  readonly #scalars = new Map<string, Tree>();
  #tags: Schema['tags'] = [];

  constructor(readonly parse: (text: string) => Parsed | undefined) {}

  /** The value of a text that stands by itself; undefined where the library must read it: it has no form, or is wrong. */
  read(text: string): Tree | undefined {
    // A longer key would be a mistake, and an escape is no word.
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
          // No key stands twice; and what every object has, such as __proto__, cannot simply be assigned.
          if (value === undefined || map[entry.last] !== undefined) return undefined;
          map[entry.last] = value;
        }
        return map;
      }
    }
  }

  /** Text, unless the library takes it for another type, such as a number. */
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

/** Characters: an implicit key may have no more. */
const LONGEST = 1000;
const MOST = 2000;
/**
 * With what YAML takes for text inside of a word: `out/1.txt`. The lexer looks at what follows the first character of a line, so
 * that a word of one character stays what it is.
 */
const WORD = /\w[\w./-]*\w/g;
/** No text has it: a file with a NUL character is refused. */
const MARK = '\0';

function marked(index: number): string {
  return `q${index}q`;
}

const MARKED = /q(\d+)q/;

/** Undefined where more decides than the words: an anchor, an alias, a tag, a merge. */
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
