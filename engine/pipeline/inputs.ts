/** The inputs of a cell and the sources of their files, as far as they are known before the run. */
import { normalize } from 'node:path';
import { maybeMany, readAddress, readQueryAddress } from '../contract/address.ts';
import type { CellInput, InputSource } from '../contract/cell.ts';
import type { InputDeclaration } from '../contract/step.ts';
import { escapeGlob, isGlob } from '../files/glob.ts';
import type { Environment } from './environment.ts';
import { asText, type Expression, resolveExpressions, template, UNKNOWN } from './interpolate.ts';
import { isTreeMap, Literal, type Tree, typedCollection } from './literals.ts';
import { inputPath, outputsOf } from './schema.ts';
import { displayValue } from './schema-check.ts';
import type { CellScope, OutputSource } from './scope.ts';
import type { Path, SourcePath } from './source.ts';

interface Sources {
  role: string;
  sources: InputSource[];
  places: SourcePath[];
  /** Written as a list, a glob or with [*]. */
  list: boolean;
}

const UNDECLARED: InputDeclaration = { kind: 'any', many: true };

/** Yields each input with the positions of its sources. */
export function* inputsIn(scope: CellScope): Generator<[role: string, input: CellInput, places: SourcePath[]]> {
  const { step, context } = scope;
  const key = step.used ? 'with' : 'inputs';
  if (step.faulty.has(key)) return;
  const written = Object(step.body[key]) as Record<string, Tree>;
  for (const [role, declaration] of Object.entries(step.inputs)) {
    const [outer, ...inner] = inputPath(role);
    if (!Object.hasOwn(written, outer) || step.faulty.has(`${key}.${outer}`)) continue;
    const path = [key, outer, ...inner];
    const value = inner.length === 0 ? written[outer] : valueInOption(written[outer]!, path, role, scope);
    if (value === undefined) continue;
    const input: Sources = { role, sources: [], places: [], list: false };
    const read = declaration.query ? collectQuery : collect;
    if (!read(value, path, input, scope) || !matchesDeclaration(declaration, path, input, scope)) continue;
    if (input.list) scope.addList(role);
    if (input.sources.length > 0) yield [role, { declaration, sources: input.sources }, input.places];
  }
  // Outputs of other steps that a command or a variable uses directly are inputs too.
  for (const { expression, path } of step.references) {
    const { reference, source } = expression;
    if (reference?.kind !== 'steps' || (path[2] !== 'run' && path[2] !== 'env')) continue;
    const sources = scope.producedOutputs(reference);
    const places = sources?.map(() => ({ source: context.source, path }));
    if (sources) yield [source, { declaration: UNDECLARED, sources }, places!];
  }
}

/** The value of an input within the map of an option, which is required there. Undefined if there is none, or an error. */
function valueInOption(option: Tree, path: string[], role: string, scope: CellScope): Tree | undefined {
  let value = option;
  for (let depth = 2; depth < path.length; depth++) {
    const map = typeof value === 'string' ? scope.resolve(value, path.slice(0, depth)) : value;
    if (map === UNKNOWN || !isTreeMap(map)) return undefined; // the schema of the option reports it
    const key = path[depth]!;
    // Only the innermost map requires the input.
    if (!Object.hasOwn(map, key)) return depth === path.length - 1 ? missingInOption(path, role, scope) : undefined;
    value = map[key]!;
  }
  return value;
}

function missingInOption(path: string[], role: string, scope: CellScope): undefined {
  const about = scope.step.inputs[role]!.description;
  scope.report(
    scope.locate(path.slice(0, -1)),
    `missing input "${role}"`,
    `Write \`${path.at(-1)}:\` below \`${path.at(-2)}\`, with a path or \${{ steps.STEP.OUTPUT }}.${about ? ` ${about}` : ''}`,
  );
}

/** False if an error hides the value. */
function collect(value: Tree, path: Path, into: Sources, scope: CellScope): boolean {
  if (Array.isArray(value)) {
    into.list = true;
    return value.map((item, i) => collect(item, [...path, i], into, scope)).every(Boolean);
  }
  if (value !== null && typeof value === 'object' && !(value instanceof Literal)) return collectMap(value, path, into, scope);
  const text = typeof value === 'string' ? template(value) : undefined;
  if (!text) return addPath(value, path, into, scope);
  if (!text.single) return collectText(text.parts, path, into, scope);
  const { reference } = text.single;
  if (reference?.kind === 'steps') {
    const sources = scope.producedOutputs(reference);
    into.list ||= reference.gather;
    into.sources.push(...(sources ?? []));
    into.places.push(...(sources ?? []).map(() => scope.locate(path)));
    return sources !== undefined;
  }
  const looked = scope.evaluate(text.single, [...scope.step.path, ...path]);
  if (looked === UNKNOWN) return false;
  // A parameter that is unset or empty counts as an input that is not given, wherever it is set.
  if (looked === '') return true;
  const found = typedPaths(looked, scope) ?? looked;
  if (!Array.isArray(found)) return addPath(found, path, into, scope, reference?.kind === 'npm' ? false : undefined);
  into.list = true;
  return found.map((item, i) => addPath(item, [...path, i], into, scope)).every(Boolean);
}

/** A database query: `{ url, query }`. */
function collectQuery(value: Tree, path: Path, into: Sources, scope: CellScope): boolean {
  const given = resolveExpressions(value, [...scope.step.path, ...path], scope);
  if (given === UNKNOWN) return false;
  if (given === null) return true;
  const { url, query, ...others } = Object(given) as Record<string, Tree>;
  const other = Object.keys(others)[0];
  if (other !== undefined && typeof given === 'object')
    return wrong(scope, [...path, other], `a query has no "${other}"`, 'A query has the keys `url` and `query`.');
  if (typeof url !== 'string' || typeof query !== 'string')
    return wrong(scope, path, `input "${into.role}" takes a database query`, 'Write `{ url: postgres://host/database, query: SELECT … }`.');
  const address = readQueryAddress({ url, query }, scope.context.folder);
  if ('mistake' in address) return wrong(scope, [...path, address.at], address.mistake, address.hint);
  into.places.push(scope.locate(path));
  into.sources.push({ kind: 'remote', address });
  return true;
}

/** `{path: …, exclude: [...], gitignore: true}`: the files at the path, except the excluded ones. */
function collectMap(written: { [key: string]: Tree }, path: Path, into: Sources, scope: CellScope): boolean {
  const { path: at, exclude = [], gitignore = false, ...others } = written;
  const [other] = Object.keys(others);
  if (other !== undefined)
    return wrong(scope, [...path, other], `an input has no key "${other}"`, 'Write a path, or {path, exclude, gitignore}.');
  if (at === undefined) return wrong(scope, path, `input "${into.role}" has no \`path\``, 'For example {path: data, exclude: ["*.log"]}.');
  const patterns = [exclude].flat();
  if (!patterns.every((pattern) => typeof pattern === 'string' && pattern !== ''))
    return wrong(scope, [...path, 'exclude'], '`exclude` takes patterns as in .gitignore', 'For example ["*.log", build/].');
  if (typeof gitignore !== 'boolean') return wrong(scope, [...path, 'gitignore'], '`gitignore` takes true or false');
  const before = into.sources.length;
  if (!collect(at, [...path, 'path'], into, scope)) return false;
  for (const source of into.sources.slice(before)) {
    if (source.kind !== 'path') return wrong(scope, path, '`exclude` and `gitignore` apply only to local files and folders');
    if (patterns.length > 0) source.exclude = patterns as string[];
    if (gitignore) source.gitignore = true;
  }
  return true;
}

/** Paths typed as a list, `[a.csv, b.csv]`, unless a file has that name. */
function typedPaths(value: Tree, { context }: CellScope): Tree[] | undefined {
  if (!(value instanceof Literal) || !value.typed) return undefined;
  const collection = typedCollection(value.text);
  return Array.isArray(collection) && context.environment.lookUp(value.text).count === 0 ? collection : undefined;
}

/** A path with references in it. Wildcards of the user count; paths that references stand for are taken literally. */
function collectText(parts: (string | Expression)[], path: Path, into: Sources, scope: CellScope): boolean {
  let [literal, pattern, glob] = ['', '', false];
  for (const part of parts) {
    const piece = typeof part === 'string' ? part : asText(part, [...scope.step.path, ...path], scope);
    if (piece === UNKNOWN) return false;
    const kind = typeof part === 'string' ? undefined : part.reference?.kind;
    const asPath = kind === 'steps' || kind === 'npm';
    literal += piece;
    pattern += asPath ? escapeGlob(piece) : piece;
    glob ||= !asPath && isGlob(piece);
  }
  return addPath(literal, path, into, scope, glob, pattern);
}

/** Adds one path. Null and an empty typed text count as an input that is not given. */
function addPath(given: Tree, path: Path, into: Sources, scope: CellScope, glob?: boolean, pattern?: string): boolean {
  const isTyped = given instanceof Literal && given.typed;
  const found = isTyped ? given.text : given;
  if (found === null || (isTyped && found === '')) return true;
  if (typeof found !== 'string' || found === '')
    return wrong(scope, path, `input "${into.role}" takes a path, found ${found === '' ? 'empty text' : displayValue(found)}`);
  const address = readAddress(found);
  if (address) {
    if ('mistake' in address) return wrong(scope, path, address.mistake, address.hint);
    into.list ||= maybeMany(address);
    into.places.push(scope.locate(path));
    into.sources.push({ kind: 'remote', address });
    return true;
  }
  const { environment } = scope.context;
  const at = environment.atHome(found);
  // A file may have a name that looks like a glob.
  const asGlob = (glob ?? isGlob(found)) && environment.lookUp(at).count === 0;
  into.list ||= asGlob;
  into.places.push(scope.locate(path));
  into.sources.push(
    asGlob
      ? { kind: 'path', pattern: globAtHome(pattern ?? found, environment).replace(/^(\.\/+)+/, ''), glob: true }
      : { kind: 'path', pattern: normalize(at).replace(/(?<=.)\/$/, ''), glob: false },
  );
  return true;
}

/** Reports an error; false, because it hides the value. */
function wrong(scope: CellScope, path: Path, message: string, hint?: string): false {
  scope.report(scope.locate(path), message, hint);
  return false;
}

function globAtHome(pattern: string, environment: Environment): string {
  return pattern.startsWith('~/') ? `${escapeGlob(environment.atHome('~'))}${pattern.slice(1)}` : pattern;
}

function matchesDeclaration(declaration: InputDeclaration, path: Path, { role, sources, places }: Sources, scope: CellScope): boolean {
  const { kind, many, optional } = declaration;
  if (sources.length === 0 && !optional) return wrong(scope, path, `input "${role}" has no file`, 'Give it a path.');
  if (sources.length > 1 && !many)
    return wrong(scope, path, `input "${role}" takes one ${kind === 'any' ? 'path' : kind}, found ${sources.length}`, 'Name one of them.');
  for (const [i, source] of sources.entries()) {
    const made = source.kind === 'output' ? kindOf(source, scope) : 'any';
    if (kind === 'any' || made === 'any' || made === kind) continue;
    const { output, cell } = source as OutputSource;
    scope.report(places[i]!, `input "${role}" takes a ${kind}, but ${output} of ${cell} is a ${made}`);
    return false;
  }
  return true;
}

function kindOf({ cell, output }: OutputSource, { steps }: CellScope): string {
  const { used } = steps.get(cell.split('[', 1)[0]!)!;
  return used ? outputsOf(used.definition)[output]!.kind : 'any';
}
