/** The parameters of a pipeline: declared in the file, overridden by a params file and by -p. They may refer to each other. */
import { resolve } from 'node:path';
import type { Diagnostic, Problems } from '../contract/errors.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import type { Json } from '../format/scalars.ts';
import { type Expression, type ExpressionValue, expressionsIn, resolveExpressions, UNKNOWN } from './interpolate.ts';
import { asWritten, isTreeMap, opened, type Tree, typedCollection, typedText } from './literals.ts';
import { type FileKind, flagSource, type Path, readSource, report, type SourcePath, type SourceText } from './source.ts';

/** One source of parameters. A later source overrides an earlier one. */
interface Layer {
  source: SourceText;
  path: Path;
  value: Tree;
}

type TreeMap = Record<string, Tree>;

const PARAMS_FILE: FileKind = {
  name: 'params file',
  hint: 'A params file is a map of values for the parameters that the pipeline declares: `name: value` lines, or a JSON object.',
};

export class Params {
  readonly #layers: Layer[];
  readonly #problems: Problems;
  readonly #npm: (name: string, at: SourcePath) => ExpressionValue;
  #merged: TreeMap;
  readonly #resolved = new Map<string, ExpressionValue>();
  /** The stack of parameters that are being resolved, to detect cycles. */
  readonly #open: string[] = [];

  constructor(
    declared: SourceText,
    options: { set?: string[]; paramsFile?: string },
    problems: Problems,
    npm: (name: string, at: SourcePath) => ExpressionValue,
  ) {
    const own = (declared.value as TreeMap).params;
    const base: TreeMap = isTreeMap(own) ? own : {};
    this.#problems = problems;
    this.#npm = npm;
    this.#layers = [{ source: declared, path: ['params'], value: base }];
    this.#merged = base;
    if (options.paramsFile !== undefined) this.#takeFile(options.paramsFile, base);
    for (const flag of options.set ?? []) this.#takeFlag(flag);
    this.#check();
  }

  values(): Record<string, Json> {
    const entries = Object.keys(this.#merged).map((name) => [name, this.value([name])] as const);
    return Object.fromEntries(entries.flatMap(([name, value]) => (value === UNKNOWN ? [] : [[name, asWritten(value)] as const])));
  }

  /** The value of a reference at `asker`, resolved on demand; UNKNOWN if there is an error. */
  value(keys: string[], asker?: SourcePath): ExpressionValue {
    const id = ['params', ...keys].join('.');
    const known = this.#resolved.get(id);
    if (known !== undefined) return known;
    if (this.#open.includes(id)) {
      const circle = [...this.#open.slice(this.#open.indexOf(id)), id].join(' → ');
      report(this.#problems, asker!, `parameters refer to each other in a cycle: ${circle}`, 'Give one of them a value.');
      return UNKNOWN;
    }
    this.#open.push(id);
    const value = this.#resolve(keys, asker);
    this.#open.pop();
    this.#resolved.set(id, value);
    return value;
  }

  /** The error in the keys of a reference, if any. `depth`: index of the wrong key. */
  unknown(keys: string[]): { depth: number; message: string; hint: string } | undefined {
    for (const [depth, key] of keys.entries()) {
      const found = depth === 0 ? this.#merged : this.value(keys.slice(0, depth));
      if (found === UNKNOWN) return undefined;
      const parent = opened(found);
      const so = ['params', ...keys.slice(0, depth)].join('.');
      if (!isTreeMap(parent)) return { depth, message: `${so} has no "${key}"`, hint: `${so} is not a map.` };
      if (Object.hasOwn(parent, key)) continue;
      const message = depth === 0 ? `there is no parameter "${key}"` : `${so} has no "${key}"`;
      return { depth, message, hint: didYouMean(key, Object.keys(parent), depth === 0 ? 'parameters' : `${so} has`) };
    }
    return undefined;
  }

  /** The position of a value in the source, following references to its origin. */
  place(keys: Path, seen = 0): SourcePath {
    for (let depth = 1; depth <= keys.length; depth++) {
      const raw = at(this.#merged, keys.slice(0, depth));
      if (typeof raw !== 'string' || seen > 50) continue;
      const [expression] = [...expressionsIn(raw, [])].map(([found]) => found);
      if (expression?.reference?.kind !== 'params' || expression.end - expression.start !== raw.length) break;
      return this.place([...expression.reference.keys, ...keys.slice(depth)], seen + 1);
    }
    return this.#written(keys);
  }

  #written(keys: Path): SourcePath {
    const layer = this.#layers.findLast(({ value }) => at(value, keys) !== undefined) ?? this.#layers[0]!;
    return { source: layer.source, path: [...layer.path, ...keys] };
  }

  #resolve(keys: string[], asker?: SourcePath): ExpressionValue {
    let raw: Tree = this.#merged;
    for (const [depth, key] of keys.entries()) {
      raw = opened(raw);
      // A reference. Its value is already resolved below.
      if (typeof raw === 'string') {
        const whole = this.value(keys.slice(0, depth), asker);
        return whole === UNKNOWN ? UNKNOWN : (at(whole, keys.slice(depth)) ?? UNKNOWN);
      }
      if (!isTreeMap(raw) || !Object.hasOwn(raw, key)) return UNKNOWN;
      raw = raw[key]!;
    }
    return resolveExpressions(raw, keys, {
      evaluate: (expression, path) => this.#look(expression, path),
      reportExpression: (expression, path, message, hint) => report(this.#problems, this.#written(path), message, hint, expression.whole),
    });
  }

  #look({ reference }: Expression, path: Path): ExpressionValue {
    if (reference?.kind === 'params') return this.value(reference.keys, this.#written(path));
    if (reference?.kind === 'npm') return this.#npm(reference.package, this.#written(path));
    return UNKNOWN;
  }

  /** Checks every expression in the parameters, also in unused ones. */
  #check(): void {
    for (const name of Object.keys(this.#merged)) {
      for (const [expression, path] of expressionsIn(this.#merged[name]!, [name])) {
        const { mistake, reference, whole, names: marks } = expression;
        const where = this.#written(path);
        if (mistake) report(this.#problems, where, mistake.message, mistake.hint, mistake.within);
        else if (reference?.kind === 'params') {
          const unknown = this.unknown(reference.keys);
          if (unknown) report(this.#problems, where, unknown.message, unknown.hint, marks[unknown.depth]);
        } else if (reference?.kind !== 'npm') {
          const message = `a parameter cannot use \${{ ${expression.source} }}`;
          report(this.#problems, where, message, "It can use other parameters and npm('pkg').", whole);
        }
      }
      this.value([name]);
    }
  }

  #takeFile(path: string, declared: TreeMap): void {
    const source = readSource(resolve(path), this.#problems, undefined, PARAMS_FILE);
    if (!isTreeMap(source.value)) {
      this.#problems.add(source.diagnostic([], 'value', 'a params file is a map', 'Write `name: value` lines, or a JSON object.'));
      return;
    }
    const undeclared = (value: TreeMap, known: TreeMap, keys: string[]): Diagnostic[] =>
      Object.entries(value).flatMap(([key, inner]) => {
        const outer = Object.hasOwn(known, key) ? known[key]! : undefined;
        if (outer === undefined) return [this.#notDeclared([...keys, key], known, source, [...keys, key])];
        return isTreeMap(inner) && isTreeMap(outer) && Object.keys(outer).length > 0 ? undeclared(inner, outer, [...keys, key]) : [];
      });
    const mistakes = undeclared(source.value, declared, []);
    for (const mistake of mistakes) this.#problems.add(mistake);
    if (mistakes.length > 0) return;
    this.#layers.push({ source, path: [], value: source.value });
    this.#merge(source.value);
  }

  #takeFlag(flag: string) {
    const [, name = '', text = ''] = /^([^=]*)=([\s\S]*)$/.exec(flag) ?? [];
    const keys = name.split('.');
    const source = (value: Tree) => flagSource(`-p ${flag}`, value);
    const report = (message: string, hint: string) => this.#problems.add(source(null).diagnostic([], 'value', message, hint));
    if (name === '' || keys.includes('')) return report('-p takes name=value', 'For example -p learning_rate=3e-5, or -p model.layers=2.');
    let parent: Tree = this.#merged;
    for (const [depth, key] of keys.entries()) {
      const above = keys.slice(0, depth).join('.');
      if (!isTreeMap(parent)) return report(`parameter ${above} is not a map`, `Set it as a whole: -p ${above}=…`);
      if (!Object.hasOwn(parent, key)) {
        if (depth > 0 && Object.keys(parent).length === 0) break;
        return this.#problems.add(this.#notDeclared(keys.slice(0, depth + 1), parent, source(null), []));
      }
      parent = parent[key]!;
    }
    const value = flagValue(text, at(this.#merged, keys));
    const nested = keys.reduceRight<Tree>((inner, key) => Object.fromEntries([[key, inner]]), value);
    this.#layers.push({ source: source(value), path: [], value: nested });
    this.#merge(nested as TreeMap, keys.length);
  }

  #notDeclared(keys: string[], known: TreeMap, source: SourceText, path: Path): Diagnostic {
    const message = `there is no parameter "${keys.join('.')}"`;
    const list = keys.length === 1 ? 'parameters declared under `params`' : `${keys.slice(0, -1).join('.')} has`;
    return source.diagnostic(path, 'key', message, didYouMean(keys.at(-1)!, Object.keys(known), list));
  }

  /** Merges maps down to `depth` and replaces other values. */
  #merge(over: TreeMap, depth = Number.POSITIVE_INFINITY): void {
    const merge = (base: Tree | undefined, value: Tree, left: number): Tree => {
      if (left <= 0 || !isTreeMap(base) || !isTreeMap(value)) return value;
      const entries = Object.entries(value).map(
        ([key, inner]) => [key, merge(Object.hasOwn(base, key) ? base[key] : undefined, inner, left - 1)] as const,
      );
      return Object.fromEntries([...Object.entries(base), ...entries]);
    };
    this.#merged = merge(this.#merged, over, depth) as TreeMap;
  }
}

/** The typed text; parsed if a list or map is declared and the text has brackets or braces. */
function flagValue(text: string, declared: Tree | undefined): Tree {
  const collection = Array.isArray(declared) || isTreeMap(declared) ? typedCollection(text) : undefined;
  return collection !== undefined && Array.isArray(collection) === Array.isArray(declared) ? collection : typedText(text);
}

function at(value: Tree, keys: Path): Tree | undefined {
  let found: Tree | undefined = value;
  for (const key of keys) {
    if (found !== undefined) found = opened(found);
    if (found === null || typeof found !== 'object' || !Object.hasOwn(found, key)) return undefined;
    found = (found as TreeMap)[key];
  }
  return found;
}
