/** Reads a YAML or JSON file into plain values and knows the position of each value in the text. */

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
import { type Diagnostic, InvalidError, Problems, unplaced } from '../contract/errors.ts';
import { displayPath } from '../files/paths.ts';
import { exactNumber } from '../format/scalars.ts';
import { lineEnd } from '../format/text.ts';
import { type Parsed, readInPieces } from './large-source.ts';
import { Literal, type Tree, writtenScalar } from './literals.ts';
import { type PipelineRequest, readText } from './request.ts';
import { syntaxErrors } from './syntax-errors.ts';

export type Path = (string | number)[];

/** A part of a scalar: `start` characters after the `${{` of its `nth` expression. */
export interface Within {
  nth: number;
  start: number;
  length: number;
}

/** The source of values: a file or a flag of the command line. */
export interface SourceText {
  readonly value: Tree;
  /** A diagnostic at a key or value. If `path` does not exist, it points at the key of the nearest parent. */
  diagnostic(path: Path, at: 'key' | 'value', message: string, hint?: string, within?: Within): Diagnostic;
}

export interface SourcePath {
  source: SourceText;
  path: Path;
}

export interface FileKind {
  name: string;
  /** The hint for an empty file. */
  hint: string;
}

const PIPELINE: FileKind = { name: 'pipeline', hint: 'A pipeline is a map with `steps:`. `tunesmith init` creates an example.' };

/** Reads a file. Throws InvalidError with all syntax errors. Does not check the content. */
export function readSource(
  path: string,
  problems: Problems,
  text = readText(path, displayPath(path)),
  kind = PIPELINE,
): SourceText & { text: string } {
  const value = text.length > LARGE ? readInPieces(text, parseText) : undefined;
  if (value === undefined) return readWhole(path, problems, text, kind);
  let whole: SourceText | undefined;
  return {
    text,
    value,
    diagnostic: (...at) => {
      whole ??= readWhole(path, new Problems(), text, kind);
      return whole.diagnostic(...at);
    },
  };
}

const LARGE = 200_000;

/** Parses a self-contained text; undefined if it has an error. */
export function parseText(text: string): Parsed | undefined {
  const documents = parseAllDocuments(text, PARSING);
  const [document, second] = documents;
  if ('empty' in documents || !document || second || document.errors.length + document.warnings.length > 0) return undefined;
  const problems = new Problems();
  const source = new YamlSource('', text, new LineCounter(), PIPELINE);
  return {
    contents: document.contents,
    tags: document.schema.tags,
    merges: isMap(document.contents) && document.contents.items.some(isMerge),
    valueOf(node) {
      if (node === document.contents) source.take(document, problems);
      const value = node === document.contents ? source.value : new Values(source, problems).read(node);
      return problems.isEmpty ? value : undefined;
    },
    keyOf: (key) => (isScalar(key) && !isMerge({ key }) ? keyText(key) : undefined),
  };
}

const PARSING = { prettyErrors: false, merge: true, uniqueKeys: false, logLevel: 'silent' } as const;

function readWhole(path: string, problems: Problems, text: string, kind: FileKind): SourceText & { text: string } {
  const file = displayPath(path);
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { ...PARSING, lineCounter: lines });
  const source = new YamlSource(file, text, lines, kind);
  const syntax = new Problems();
  if ('empty' in documents || documents.length === 0 || documents[0]!.contents === null) {
    throw new InvalidError([source.at(0, 0, `${file} is empty`, kind.hint)]);
  }
  for (const [start, end, message, hint] of syntaxErrors(documents as Document.Parsed[], text, /\.json$/i.test(path) ? 'JSON' : 'YAML')) {
    syntax.add(source.at(start, end - start, message, hint));
  }
  const second = documents[1];
  if (second) {
    const start = second.range?.[0] ?? 0;
    const marker = text.lastIndexOf('---', start);
    syntax.add(
      source.at(
        marker < 0 ? start : marker,
        3,
        'a second YAML document begins here',
        `A ${kind.name} is one document. Remove the \`---\`.`,
      ),
    );
  }
  syntax.throwIfAny();
  source.take(documents[0] as Document.Parsed, problems);
  return source;
}

export function flagSource(flag: string, value: Tree): SourceText {
  return { value, diagnostic: (_path, _at, message, hint) => ({ ...unplaced(message, hint), file: flag }) };
}

class YamlSource implements SourceText {
  value: Tree = null;
  #document!: Document.Parsed;
  #targets: Map<Alias, unknown> | undefined;

  constructor(
    readonly file: string,
    readonly text: string,
    readonly lines: LineCounter,
    readonly kind: FileKind,
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
    const expression = within && !asKey ? indexOfExpression(this.text.slice(start, end), within.nth) : -1;
    if (expression >= 0) return this.at(start + expression + within!.start, within!.length, message, hint);
    const text = this.text.slice(start, end).split(/\r?\n/, 1)[0]!.trimEnd();
    return this.at(start, found === 0 ? 1 : text.length, message, hint);
  }

  /** The target of an alias; undefined if there is no such anchor before it. */
  target(alias: Alias): unknown {
    if (!this.#targets) {
      // Collect all anchors at once, because the library searches the whole document for each alias.
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

  /** The maps of a `<<`; empty if it has another value. */
  merged(pair: Pair): YAMLMap[] {
    const value = this.resolved(pair.value);
    const all = isSeq(value) ? value.items.map((item) => this.resolved(item)) : [value];
    return all.every((map) => isMap(map)) ? (all as YAMLMap[]) : [];
  }

  /** The pair of a key: the map's own pair, otherwise one that `<<` merges in. */
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

  /** Undefined for an empty value, as in `key:`. */
  #range(node: unknown): [number, number] | undefined {
    const range = (node as { range?: [number, number, number] } | null)?.range;
    return range && range[1] > range[0] ? [range[0], range[1]] : undefined;
  }
}

/** Maximum number of values, because nested aliases can grow exponentially. */
const MOST_VALUES = 1_000_000;

/** Converts YAML nodes to plain values. Reports values that JSON cannot represent. */
class Values {
  #left = MOST_VALUES;
  readonly #open = new Set<unknown>();

  constructor(
    readonly source: YamlSource,
    readonly problems: Problems,
  ) {}

  read(node: unknown): Tree {
    if (this.#left-- === 0) {
      throw new InvalidError([this.source.at(0, 1, 'aliases expand this file to more than a million values', 'Use fewer aliases.')]);
    }
    if (isAlias(node)) return this.#alias(node);
    // Use its text, so that no further errors are reported for it.
    if (!this.#tagged(node)) return isScalar(node) ? (node.source ?? '') : null;
    if (isScalar(node)) return this.#scalar(node as { value: unknown; source?: string; range?: [number, number, number] });
    if (isSeq(node)) return this.#within(node, () => node.items.map((item) => this.read(item)), []);
    if (isMap(node)) return this.#within(node, () => this.#map(node as YAMLMap), {});
    return null;
  }

  /** Whether a value has no tag or the tag of a JSON type. A date or bytes would silently become something else. */
  #tagged(node: unknown): boolean {
    const { tag, range } = Object(node) as { tag?: string; range?: [number, number, number] };
    if (tag === undefined || TAGS.has(tag)) return true;
    const before = this.source.text.slice(0, range?.[0] ?? 0);
    const written = /!\S*(?=\s*(?:&\S+\s*)?$)/.exec(before.slice(-300));
    const name = written?.[0] ?? tag.replace('tag:yaml.org,2002:', '!!');
    const start = written ? before.length - Math.min(before.length, 300) + written.index : before.length;
    const hint = 'Remove the tag. Write a date, like any other text, without one.';
    const wrong = this.source.at(start, name.length, `a ${this.source.kind.name} has no type ${name}`, hint);
    this.problems.addLast(wrong, this.source.at(range?.[0] ?? start, 1, ''));
    return false;
  }

  #alias(node: Alias): Tree {
    const target = this.source.target(node);
    if (target) return this.read(target);
    const hint = `Text that begins with * must be quoted: "*${node.source}". An alias needs its anchor before it: &${node.source}.`;
    return this.#wrong(node, `there is no anchor named ${node.source}`, hint);
  }

  #scalar({ value, source, range }: { value: unknown; source?: string; range?: [number, number, number] }): Tree {
    if (typeof value === 'boolean' && source !== undefined) return writtenScalar(value, source);
    if (typeof value !== 'number' || source === undefined) return value as Tree;
    if (Number.isFinite(value) && exactNumber(source) !== undefined) return writtenScalar(value, source);
    // A number that would lose digits, such as a hash or a long id, stays text.
    if (/\d/.test(source)) return new Literal(source, source, false);
    return this.#wrong(
      { range },
      `a ${this.source.kind.name} cannot contain the value ${source}`,
      'Remove it, or quote it to make it text.',
    );
  }

  #map(map: YAMLMap): Tree {
    const own = new Map<string, Tree>();
    const keys = new Map<string, unknown>();
    const merged = new Map<string, Tree>();
    for (const pair of map.items) {
      if (isMerge(pair)) {
        const maps = this.source.merged(pair);
        if (maps.length === 0) this.#wrong(pair.key, '<< takes a map, or a list of maps', 'For example `<<: *defaults`.');
        for (const [key, value] of maps.flatMap((one) => Object.entries(this.read(one) as object))) {
          if (!merged.has(key)) merged.set(key, value);
        }
      } else if (!this.#tagged(pair.key)) {
        // A name of another type has been reported already.
      } else if (!isScalar(pair.key)) {
        this.#wrong(
          pair.key,
          'a key must be text',
          isMap(pair.key) ? 'Quote it. For an expression, write a $ before the braces: ${{ params.NAME }}.' : 'Quote it.',
        );
      } else {
        const key = keyText(pair.key);
        const value = this.read(pair.value);
        if (!own.has(key)) own.set(key, value);
        else this.#wrong(pair.key, `duplicate key "${key}"`, `It is already set in line ${this.#line(keys.get(key))}. Remove one of them.`);
        if (!keys.has(key)) keys.set(key, pair.key);
      }
    }
    // fromEntries makes own properties even for keys such as `__proto__`.
    return Object.fromEntries([...[...merged].filter(([key]) => !own.has(key)), ...own]);
  }

  /** Guards against an alias to a value that contains it. */
  #within(node: unknown, read: () => Tree, otherwise: Tree): Tree {
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

/** The key as it is written, so that NULL and 007 stay text. */
function keyText({ value, source }: Scalar): string {
  return typeof value === 'string' ? value : (source ?? String(value));
}

const TAGS = new Set(['!', ...['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`)]);

function isMerge({ key }: Pick<Pair, 'key'>): boolean {
  return isScalar(key) && key.type === 'PLAIN' && key.source === '<<';
}

function indexOfExpression(raw: string, nth: number): number {
  let at = -1;
  for (let i = 0; i <= nth; i++) {
    at = raw.indexOf('${{', at + 1);
    if (at < 0) return -1;
  }
  return at;
}

export function report(problems: Problems, at: SourcePath, message: string, hint?: string, within?: Within): void {
  problems.add(at.source.diagnostic(at.path, 'value', message, hint, within));
}

/** The position of a step in the text of a pipeline, for errors that occur during a run. */
export function locateInText(
  { file, text }: Pick<PipelineRequest, 'file' | 'text'>,
  step: string,
  at: Path,
  message: string,
  hint?: string,
): Diagnostic {
  return locateStep(readSource(file, new Problems(), text), step, at, message, hint);
}

export function locateStep(source: SourceText, step: string, at: Path, message: string, hint?: string): Diagnostic {
  return source.diagnostic(['steps', step, ...at], at.length === 0 ? 'key' : 'value', message, hint);
}
