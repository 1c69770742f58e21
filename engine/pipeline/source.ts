/** A YAML (or JSON) file read into plain values, which still knows where in the text each of them stands. */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import { type Diagnostic, InvalidError } from '../diagnostic.ts';
import type { Json } from '../step.ts';
import { Problems } from './problems.ts';
import { lineEnd, syntaxErrors } from './syntax.ts';
import { readText, shownPath } from './text.ts';

export type Path = (string | number)[];

/** A part of a scalar: the `nth` expression in it, `start` characters after its `${{`. */
export interface Within {
  nth: number;
  start: number;
  length: number;
}

/** Where values come from: a file, or a flag of the command line. */
export interface Source {
  readonly value: Json;
  /** A diagnostic at a key or value; where nothing stands at `path`, at the key of its nearest parent. */
  diagnostic(path: Path, at: 'key' | 'value', message: string, hint?: string, within?: Within): Diagnostic;
}

/** Reads a file or throws InvalidError: all that is wrong with its text, but not what it says. */
export function readSource(path: string, problems: Problems, text = readText(path, shownPath(path))): Source & { text: string } {
  const file = shownPath(path);
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    merge: true,
    uniqueKeys: false,
    logLevel: 'silent',
  });
  const source = new YamlSource(file, text, lines);
  const syntax = new Problems();
  if ('empty' in documents || documents.length === 0 || documents[0]!.contents === null) {
    throw new InvalidError([
      source.at(0, 0, `${file} is empty`, 'A pipeline is a map with `steps:`; `tunesmith init` writes one to start from.'),
    ]);
  }
  for (const [start, end, message, hint] of syntaxErrors(documents as Document.Parsed[], text)) {
    syntax.add(source.at(start, end - start, message, hint));
  }
  const second = documents[1];
  if (second) {
    const start = second.range?.[0] ?? 0;
    const marker = text.lastIndexOf('---', start);
    syntax.add(
      source.at(marker < 0 ? start : marker, 3, 'a second YAML document begins here', 'A pipeline is one document: remove the `---`.'),
    );
  }
  syntax.throwIfAny();
  source.take(documents[0] as Document.Parsed, problems);
  return source;
}

/** A value given as a flag: it has no place in a file. */
export function flagSource(flag: string, value: Json): Source {
  return { value, diagnostic: (_path, _at, message, hint) => ({ file: flag, line: 0, column: 0, length: 0, message, hint }) };
}

class YamlSource implements Source {
  value: Json = null;
  #document!: Document.Parsed;
  #targets: Map<Alias, unknown> | undefined;

  constructor(
    readonly file: string,
    readonly text: string,
    readonly lines: LineCounter,
  ) {}

  take(document: Document.Parsed, problems: Problems): void {
    this.#document = document;
    this.value = new Values(this, problems).read(document.contents);
  }

  at(offset: number, length: number, message: string, hint?: string): Diagnostic {
    const { line, col } = this.text === '' ? { line: 1, col: 1 } : this.lines.linePos(Math.min(offset, this.text.length));
    const start = this.lines.lineStarts[line - 1] ?? 0;
    const source = this.text.slice(start, lineEnd(this.text, start)).replace(/\r$/, '');
    const inLine = Math.max(1, Math.min(length, source.length - (col - 1)));
    const shown = source.trim() === '' ? undefined : source;
    return { file: this.file, line: Math.max(line, 1), column: Math.max(col, 1), length: inLine, message, hint, source: shown };
  }

  diagnostic(path: Path, at: 'key' | 'value', message: string, hint?: string, within?: Within): Diagnostic {
    let key: unknown;
    let node: unknown = this.#document.contents;
    let found = 0;
    for (const step of path) {
      const collection: unknown = this.resolved(node);
      const pair = isMap(collection) ? this.#pair(collection as YAMLMap, String(step)) : undefined;
      const item = isSeq(collection) ? collection.items[Number(step)] : undefined;
      if (pair) [key, node] = [pair.key, pair.value];
      else if (item) [key, node] = [item, item];
      else break;
      found++;
    }
    const asKey = found > 0 && (found < path.length || at === 'key');
    const [start, end] = this.#range(asKey ? key : node) ?? this.#range(key) ?? [0, 0];
    const expression = within && !asKey ? nthExpression(this.text.slice(start, end), within.nth) : -1;
    if (expression >= 0) return this.at(start + expression + within!.start, within!.length, message, hint);
    const text = this.text.slice(start, end).split(/\r?\n/, 1)[0]!.trimEnd();
    return this.at(start, found === 0 ? 1 : text.length, message, hint);
  }

  /** What an alias stands for; undefined where there is no such anchor before it. */
  target(alias: Alias): unknown {
    if (!this.#targets) {
      // All at once: the library would search the document anew for each.
      const anchors = new Map<string, unknown>();
      const targets = new Map<Alias, unknown>();
      visit(this.#document, {
        Alias: (_, found) => void targets.set(found, anchors.get(found.source)),
        Value: (_, node) => void (node.anchor && anchors.set(node.anchor, node)),
      });
      this.#targets = targets;
    }
    return this.#targets.get(alias);
  }

  resolved(node: unknown): unknown {
    return isAlias(node) ? this.target(node) : node;
  }

  /** The maps of a `<<`; none where it has anything else. */
  merged(pair: Pair): YAMLMap[] {
    const value = this.resolved(pair.value);
    const all = isSeq(value) ? value.items.map((item) => this.resolved(item)) : [value];
    return all.every((map) => isMap(map)) ? (all as YAMLMap[]) : [];
  }

  /** The pair of a key: the map's own, else one merged in by `<<`. */
  #pair(map: YAMLMap, key: string): Pair | undefined {
    const own = map.items.find((pair) => !isMerge(pair) && isScalar(pair.key) && keyText(pair.key) === key);
    if (own) return own;
    for (const pair of map.items.filter(isMerge)) {
      for (const merged of this.merged(pair)) {
        const found = this.#pair(merged, key);
        if (found) return found;
      }
    }
    return undefined;
  }

  /** Undefined where nothing is written, as in `key:`. */
  #range(node: unknown): [number, number] | undefined {
    const range = (node as { range?: [number, number, number] } | null)?.range;
    return range && range[1] > range[0] ? [range[0], range[1]] : undefined;
  }
}

/** Aliases may multiply without end: no file that a person wrote comes near this. */
const MOST_VALUES = 1_000_000;

/** YAML nodes → plain values; what JSON cannot hold is a mistake. */
class Values {
  #left = MOST_VALUES;
  readonly #open = new Set<unknown>();

  constructor(
    readonly source: YamlSource,
    readonly problems: Problems,
  ) {}

  read(node: unknown): Json {
    if (this.#left-- === 0) {
      throw new InvalidError([this.source.at(0, 1, 'aliases make this file grow beyond a million values', 'Use fewer of them.')]);
    }
    if (isAlias(node)) return this.#alias(node);
    if (isScalar(node)) return this.#scalar(node as { value: unknown; source?: string; range?: [number, number, number] });
    if (isSeq(node)) return this.#within(node, () => node.items.map((item) => this.read(item)), []);
    if (isMap(node)) return this.#within(node, () => this.#map(node as YAMLMap), {});
    return null;
  }

  #alias(node: Alias): Json {
    const target = this.source.target(node);
    if (target) return this.read(target);
    const hint = `Text that begins with * must be quoted: "*${node.source}". An alias needs its anchor before it: &${node.source}.`;
    return this.#wrong(node, `there is no anchor named ${node.source}`, hint);
  }

  #scalar(node: { value: unknown; source?: string }): Json {
    const { value } = node;
    if (typeof value !== 'number') return value as Json;
    if (!Number.isFinite(value))
      return this.#wrong(node, `${node.source} is no value that a pipeline can hold`, 'Leave it out, or quote it to make it text.');
    if (!Number.isSafeInteger(value) && /^[-+]?\d+$/.test(node.source ?? '')) {
      return this.#wrong(node, `${node.source} is too large: its last digits would be lost`, 'Quote it to make it text.');
    }
    return value;
  }

  #map(map: YAMLMap): Json {
    const own = new Map<string, Json>();
    const keys = new Map<string, unknown>();
    const merged = new Map<string, Json>();
    for (const pair of map.items) {
      if (isMerge(pair)) {
        const maps = this.source.merged(pair);
        if (maps.length === 0) this.#wrong(pair.key, '<< takes a map, or a list of maps', 'For example `<<: *defaults`.');
        for (const [key, value] of maps.flatMap((one) => Object.entries(this.read(one) as object))) {
          if (!merged.has(key)) merged.set(key, value);
        }
      } else if (!isScalar(pair.key)) {
        this.#wrong(
          pair.key,
          'a key must be text',
          isMap(pair.key) ? 'Quote it; an expression begins with a $: ${{ params.NAME }}.' : 'Quote it.',
        );
      } else {
        const key = keyText(pair.key);
        const value = this.read(pair.value);
        if (!own.has(key)) own.set(key, value);
        else this.#wrong(pair.key, `duplicate key "${key}"`, `It is first set in line ${this.#line(keys.get(key))}: keep one of them.`);
        if (!keys.has(key)) keys.set(key, pair.key);
      }
    }
    // fromEntries makes own properties, whatever the key's name.
    return Object.fromEntries([...[...merged].filter(([key]) => !own.has(key)), ...own]);
  }

  /** Guards against an alias to what it stands in. */
  #within(node: unknown, read: () => Json, otherwise: Json): Json {
    if (this.#open.has(node)) {
      this.#wrong(node, 'this value contains itself through an alias', 'Remove the alias.');
      return otherwise;
    }
    this.#open.add(node);
    const value = read();
    this.#open.delete(node);
    return value;
  }

  #wrong(node: unknown, message: string, hint: string): null {
    const [start, end] = (node as { range?: [number, number, number] } | null)?.range ?? [0, 1];
    this.problems.addLast(this.source.at(start, end - start, message, hint));
    return null;
  }

  #line(node: unknown): number {
    return this.source.lines.linePos((node as { range: [number, number, number] }).range[0]).line;
  }
}

/** As written: the variable NULL and the file 007 are no other types when they are keys. */
function keyText({ value, source }: Scalar): string {
  return typeof value === 'string' ? value : (source ?? String(value));
}

function isMerge(pair: Pair): boolean {
  return isScalar(pair.key) && pair.key.type === 'PLAIN' && pair.key.source === '<<';
}

function nthExpression(raw: string, nth: number): number {
  let at = -1;
  for (let i = 0; i <= nth; i++) {
    at = raw.indexOf('${{', at + 1);
    if (at < 0) return -1;
  }
  return at;
}
