/** Describes the differences from an earlier result: "option lowercase: true → false; input data changed". */

import type { Result } from '../../cache/index.ts';
import { canonicalJson, type Json } from '../format/scalars.ts';
import type { Components } from './fingerprint.ts';
import type { Manifest } from './resolve-inputs.ts';

export interface Difference {
  /** Name of the component: "option lowercase", "input data", "code of ./step.ts", "command", "env NAME", "library x". */
  what: string;
  before?: string;
  after?: string;
  /** The full texts of a command, for a comparison line by line. */
  texts?: Texts;
  /** The changes of files of an input or of code, if still known. */
  files?: FileDifference[];
  /** Number of files of the input or code, now or before. */
  total?: number;
}

export interface FileDifference {
  name: string;
  change: 'added' | 'removed' | 'changed';
  /** The texts of code, if still known. */
  texts?: Texts;
}

export interface Texts {
  before: string;
  after: string;
}

/** What is still known about hashed content; undefined if unknown or not needed. */
export interface KnownContents {
  /** The files of an input. */
  manifestOf(hash: string): Manifest | undefined;
  /** The text of a file of a step's code. */
  textOf?(hash: string): string | undefined;
}

export function phrase(differences: Difference[]): string {
  return differences.map(phraseOf).join('; ');
}

function phraseOf({ what, before, after, files, total = 0 }: Difference): string {
  if (files && total > 1) return `${what} changed: ${files.length} of ${total} files`;
  if (before === undefined && after === undefined) return `${what} changed`;
  return `${what}: ${short(before ?? 'unset')} → ${short(after ?? 'unset')}`;
}

/** `uses`: the name of the step's code in the pipeline. */
export function differences(before: Components, after: Components, uses: string, { manifestOf, textOf }: KnownContents): Difference[] {
  const differences: Difference[] = [];
  const values = (what: string, a: unknown, b: unknown) => {
    if (!same(a, b)) differences.push({ what, before: valueText(a), after: valueText(b) });
  };
  values('step', before.step, after.step);
  values(`version of ${after.step}`, before.version, after.version);
  values('version', before.stepVersion, after.stepVersion);
  if (before.code?.hash !== after.code?.hash) {
    const files = before.code && after.code && codeDifferences(before.code.files, after.code.files, textOf);
    const packages = changedKeys(before.code?.packages ?? {}, after.code?.packages ?? {});
    if (!files || files.length > 0 || packages.length === 0)
      differences.push({ what: `code of ${uses}`, ...(files && files.length > 0 ? { files } : {}) });
    for (const name of packages) values(`library ${name}`, before.code?.packages[name], after.code?.packages[name]);
  }
  for (const name of changedKeys(before.libraries ?? {}, after.libraries ?? {})) {
    values(`library ${name}`, before.libraries?.[name], after.libraries?.[name]);
  }
  const changed = changedValues(before, after);
  differences.push(...changed);
  if (!same(before.commands, after.commands) && (changed.length === 0 || before.written?.commands !== after.written?.commands)) {
    const [a, b] = [before.commands?.join('\n'), after.commands?.join('\n')];
    differences.push({ what: 'command', ...(a !== undefined && b !== undefined ? { texts: { before: a, after: b } } : {}) });
  }
  values('shell', before.shell, after.shell);
  for (const [path, a, b] of leaves(before.options ?? {}, after.options ?? {})) values(`option ${path}`, a, b);
  for (const role of changedKeys(before.inputs, after.inputs)) differences.push(inputDifference(role, before, after, manifestOf));
  for (const name of changedKeys(before.env, after.env)) {
    if (changed.length > 0 && isSameText(name, before, after)) continue;
    differences.push(envDifference(name, own(before.env, name), own(after.env, name)));
  }
  if (!same(before.outputs, after.outputs))
    differences.push({ what: 'outputs', before: before.outputs.join(', '), after: after.outputs.join(', ') });
  return differences;
}

/** Changed values in commands and variables: "params.word: hello → bye". Reported if they changed a command or variable. */
function changedValues(before: Components, after: Components): Difference[] {
  if (!before.written || !after.written || (same(before.commands, after.commands) && same(before.env, after.env))) return [];
  const [old, now] = [before.written.values, after.written.values];
  return Object.keys(now)
    .filter((name) => Object.hasOwn(old, name) && old[name] !== now[name])
    .map((name) => ({ what: name, before: old[name], after: now[name] }));
}

/** Whether the template of a variable is unchanged, so that only its values have changed. */
function isSameText(variable: string, before: Components, after: Components): boolean {
  const [old, now] = [own(before.written?.env ?? {}, variable), own(after.written?.env ?? {}, variable)];
  return old !== undefined && old === now;
}

/** The earlier result with the fewest differences. Ties: the cell's last result, otherwise the newest. */
export function nearest(history: Result[], last: string | undefined, components: Components): Result | undefined {
  let best: Result | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const result of history) {
    const count = differences(componentsIn(result), components, '', { manifestOf: () => undefined }).length;
    if (count < least || (count === least && result.fingerprint === last)) [best, least] = [result, count];
  }
  return best;
}

/** The fingerprint components that are stored with a result. */
export function componentsIn(result: Result): Components {
  return (result.record as unknown as { components: Components }).components;
}

export function compare(before: Manifest, after: Manifest): FileDifference[] {
  const old = new Map(before);
  const differences: FileDifference[] = [];
  for (const [name, content] of after) {
    if (!old.has(name)) differences.push({ name, change: 'added' });
    else if (old.get(name) !== content) differences.push({ name, change: 'changed' });
    old.delete(name);
  }
  for (const name of old.keys()) differences.push({ name, change: 'removed' });
  return differences;
}

function codeDifferences(before: Record<string, string>, after: Record<string, string>, textOf: KnownContents['textOf']): FileDifference[] {
  return compare(Object.entries(before), Object.entries(after)).map((file) => {
    const [a, b] = [before, after].map((files) => (own(files, file.name) === undefined ? '' : textOf?.(files[file.name]!)));
    return a === undefined || b === undefined ? file : { ...file, texts: { before: a, after: b } };
  });
}

/** Compares hashes, because values may be private. */
function envDifference(name: string, before: string | null | undefined, after: string | null | undefined): Difference {
  const known = (hash: string | null | undefined) => (hash === null ? 'not set' : hash === undefined ? 'not declared' : 'set');
  const [a, b] = [known(before), known(after)];
  return a === b ? { what: `env ${name}` } : { what: `env ${name}`, before: a, after: b };
}

function inputDifference(role: string, before: Components, after: Components, manifestOf: KnownContents['manifestOf']): Difference {
  const what = `input ${role}`;
  const [a, b] = [own(before.inputs, role), own(after.inputs, role)];
  if (!a) return { what, after: 'given' };
  if (!b) return { what, before: 'given' };
  const revised = revision(what, a.revisions, b.revisions);
  if (revised) return revised;
  const [old, now] = [manifestOf(a.hash), manifestOf(b.hash)];
  if (!old || !now) return { what };
  const files = compare(old, now);
  // Manifests list files and links. If all of these are equal, only empty folders can differ.
  if (files.length === 0) return { what: `empty folders of ${what}` };
  const removed = files.filter((file) => file.change === 'removed').length;
  return { what, files, total: now.length + removed };
}

/** A changed remote input: the address has another revision, or it is another address. */
function revision(what: string, before: Record<string, string> = {}, after: Record<string, string> = {}): Difference | undefined {
  const [moved, ...others] = Object.keys(after).filter((address) => before[address] !== undefined && before[address] !== after[address]);
  if (moved !== undefined && others.length === 0 && changedKeys(before, after).length === 1)
    return { what: `${what} ${moved}`, before: before[moved]!.slice(0, 7), after: after[moved]!.slice(0, 7) };
  const [old, now] = [Object.keys(before), Object.keys(after)];
  return old.length === 1 && now.length === 1 && old[0] !== now[0] ? { what, before: old[0], after: now[0] } : undefined;
}

/** The differing options down to single values: path, before, after. */
function* leaves(before: Record<string, Json>, after: Record<string, Json>, prefix = ''): Generator<[string, unknown, unknown]> {
  for (const key of changedKeys(before, after)) {
    const [a, b] = [own(before, key), own(after, key)];
    if (isObject(a) && isObject(b)) yield* leaves(a, b, `${prefix}${key}.`);
    else yield [prefix + key, a, b];
  }
}

function changedKeys(before: Record<string, unknown>, after: Record<string, unknown>): string[] {
  return [...new Set([...Object.keys(after), ...Object.keys(before)])].filter((key) => !same(own(before, key), own(after, key)));
}

/** An own property, because users may choose names such as `constructor`. */
export function own<T>(map: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

function same(a: unknown, b: unknown): boolean {
  return a === undefined || b === undefined ? a === b : canonicalJson(a as Json) === canonicalJson(b as Json);
}

function isObject(value: unknown): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function valueText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : value === undefined ? undefined : canonicalJson(value as Json);
}

function short(value: string): string {
  const line = value.replace(/\s+/g, ' ');
  return line.length <= 60 ? line : `${line.slice(0, 59)}…`;
}
