/** Checks the paths of outputs, and finds the cells whose outputs a path of an input refers to. */

import { basename, dirname, join, resolve } from 'node:path';
import { type CellInput, type InputSource, lockfilePath, onlyDiffer, placeKey, SHARED } from '../contract/cell.ts';
import { matcher, staticFolder, within } from '../files/glob.ts';
import { similarPath } from '../files/paths.ts';
import { canonicalJson } from '../format/scalars.ts';
import type { Draft, ParseContext } from './drafts.ts';
import { locateValue } from './matrix.ts';
import type { SourcePath } from './source.ts';

interface OutputPath {
  draft: Draft;
  name: string;
  path: string;
  /** The key of the path on file systems that ignore case. */
  key: string;
}

/** Checks outputs against each other, and adds the dependencies that paths cause to `Cell.reads`. */
export function connectPaths(drafts: Draft[], context: ParseContext): void {
  const outputs = new Outputs();
  const taken = reservedPaths(context);
  const overlaps = new Overlaps(context);
  for (const draft of drafts) {
    for (const [name, { path }] of Object.entries(draft.cell.outputs)) {
      const written = { draft, name, path, key: placeKey(path) };
      if (!draft.step.used && !isAllowed(written, taken, context)) continue;
      const other = outputs.add(written);
      if (other) overlaps.add(written, other);
    }
  }
  for (const [inner, outer] of outputs.nested()) overlaps.add(inner, outer);
  overlaps.report();
  for (const draft of drafts) {
    for (const [role, input] of Object.entries(draft.cell.inputs)) connectInput(draft, role, input, outputs, context);
  }
}

/** Paths that no output may have, by `placeKey`. */
function reservedPaths({ root, file }: ParseContext) {
  const [pipeline, lock, git, own] = [file, lockfilePath(file), join(root, '.git'), join(root, '.tunesmith')].map(placeKey);
  return { pipeline: pipeline!, lock: lock!, git: git!, own: own! };
}

type ReservedPaths = ReturnType<typeof reservedPaths>;

/** The position of an output in the pipeline; undefined if the step itself declares it. */
function locateOutput({ draft: { step, point }, name }: OutputPath, context: ParseContext): SourcePath | undefined {
  return step.used ? undefined : locateValue(step, ['outputs', name], context, point.places);
}

function isAllowed(written: OutputPath, taken: ReservedPaths, context: ParseContext): boolean {
  const { draft, path, name, key } = written;
  const wrong = (message: string, hint: string) => {
    const { source, path: at } = locateOutput(written, context)!;
    context.reportForCell(draft.cell, source.diagnostic(at, 'value', message, hint));
    return false;
  };
  if (path === context.root)
    return wrong(`output "${name}" is the whole project (${context.root})`, `Use a folder inside the project, for example out/${name}.`);
  if (!within(path, context.root))
    return wrong(
      `output "${name}" is outside the project (${context.root})`,
      `Use a path inside the project, for example out/${basename(path)}.`,
    );
  if (within(taken.pipeline, key))
    return wrong(`output "${name}" would replace the pipeline file itself`, `Use a different path, for example out/${name}.`);
  if (key === taken.lock)
    return wrong(`output "${name}" would replace the pipeline's lockfile`, `Use a different path, for example out/${name}.`);
  if (within(key, taken.git))
    return wrong(`output "${name}" is inside .git, which belongs to git`, `Use a different path, for example out/${name}.`);
  if (within(key, taken.own) || within(taken.own, key))
    return wrong(`output "${name}" is inside .tunesmith, which tunesmith manages itself`, `Use a different path, for example out/${name}.`);
  // A UTF-16 code unit has at most three bytes in UTF-8.
  if (path.length < 255 / 3) return true;
  const longest = Math.max(...path.split('/').map((part) => Buffer.byteLength(part)));
  if (longest > 255) return wrong(`the name of output "${name}" has ${longest} bytes; file systems allow 255`, 'Use a shorter name.');
  if (Buffer.byteLength(path) > 4095)
    return wrong(`the path of output "${name}" has ${Buffer.byteLength(path)} bytes; the system allows 4095`, 'Use a shorter path.');
  return true;
}

class Outputs {
  readonly #all: OutputPath[] = [];
  readonly #byKey = new Map<string, OutputPath>();
  /** Only outputs that `#byKey` does not find by their path, because it has capitals, for example. */
  readonly #byPath = new Map<string, OutputPath>();
  /** For the key of a folder: the output that equals or contains it. Valid after all outputs have been added. */
  readonly #containing = new Map<string, OutputPath | undefined>();
  #sorted: string[] | undefined;

  /** Adds an output. Returns the output that already has this path, if any. */
  add(written: OutputPath): OutputPath | undefined {
    const { path, key } = written;
    const there = this.#at(path);
    const alike = there ?? this.#byKey.get(key);
    if (!there) this.#all.push(written);
    if (!there && (alike || path !== key)) this.#byPath.set(path, written);
    if (!alike) this.#byKey.set(key, written);
    return alike;
  }

  #at(path: string): OutputPath | undefined {
    const found = this.#byKey.get(path);
    return found?.path === path ? found : this.#byPath.get(path);
  }

  /** The output that contains this path, also on file systems that ignore case and Unicode composition. */
  outer({ key }: OutputPath): OutputPath | undefined {
    const folders: string[] = [];
    let found: OutputPath | undefined;
    for (let folder = dirname(key); ; folder = dirname(folder)) {
      found = this.#containing.get(folder) ?? this.#byKey.get(folder);
      if (found || this.#containing.has(folder)) break;
      folders.push(folder);
      if (dirname(folder) === folder) break;
    }
    for (const folder of folders) this.#containing.set(folder, found);
    return found;
  }

  /** Pairs of outputs in which the second contains the first. */
  *nested(): Generator<[OutputPath, OutputPath]> {
    for (const written of this.#all) {
      const outer = this.outer(written);
      if (outer) yield [written, outer];
    }
  }

  /** The output at this path or the output that contains it. */
  containing(path: string): OutputPath[] {
    for (let folder = path; ; folder = dirname(folder)) {
      const found = this.#at(folder);
      if (found) return [found];
      if (dirname(folder) === folder) return [];
    }
  }

  /** The output at a path that some file system treats as this one. */
  alike(path: string): OutputPath | undefined {
    const found = this.#byKey.get(placeKey(path));
    return found?.path === path ? undefined : found;
  }

  inside(folder: string): OutputPath[] {
    this.#sorted ??= this.#all.map(({ path }) => path).sort();
    const prefix = folder.endsWith('/') ? folder : `${folder}/`;
    const found: OutputPath[] = [];
    for (let i = firstFrom(this.#sorted, prefix); this.#sorted[i]?.startsWith(prefix); i++) found.push(this.#at(this.#sorted[i]!)!);
    return found;
  }
}

function firstFrom(sorted: string[], text: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < text) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Groups conflicting outputs into one message for each pair of steps. */
class Overlaps {
  readonly #found = new Map<string, { one: OutputPath; other: OutputPath; more: number; differs: Set<string> }>();

  constructor(readonly context: ParseContext) {}

  /** Adds a conflict: `one` is inside `other` or has the same path. */
  add(one: OutputPath, other: OutputPath): void {
    const id = JSON.stringify([one.draft.step.name, one.name, other.draft.step.name, other.name, one.key === other.key]);
    const found = this.#found.get(id) ?? { one, other, more: -1, differs: new Set() };
    found.more++;
    const [matrix, others] = [one.draft.cell.matrix, other.draft.cell.matrix];
    for (const key of Object.keys(matrix)) if (canonicalJson(matrix[key]!) !== canonicalJson(others[key] ?? null)) found.differs.add(key);
    this.#found.set(id, found);
  }

  report(): void {
    for (const { one, other, more, differs } of this.#found.values()) {
      // The error in its matrix has been reported already.
      if (one.path !== other.path && one.draft.step === other.draft.step && one.draft.step.faulty.has('matrix')) continue;
      const place = locateOutput(one, this.context) ?? locateOutput(other, this.context);
      if (!place) continue;
      const [path, outer] = [this.context.relative(one.path), this.context.relative(other.path)];
      const [a, b] = [one.draft.cell.name, other.draft.cell.name];
      const others = more > 0 ? `, and ${more} more` : '';
      const message =
        placeKey(path) === placeKey(outer)
          ? path !== outer
            ? `the outputs ${outer} and ${path} ${onlyDiffer(outer, path)}${others}`
            : a === b
              ? `two outputs of ${a} have the path ${path}: ${other.name} and ${one.name}`
              : `two cells write ${path}: ${b} and ${a}${others}`
          : a === b
            ? `${path} is inside ${outer}, and both are outputs of ${a}`
            : `${path}, an output of ${a}, is inside ${outer}, an output of ${b}`;
      const isShared = path !== outer && placeKey(path) === placeKey(outer);
      const hint = isShared
        ? SHARED
        : one.draft.step === other.draft.step && differs.size > 0
          ? suggestPath(one, [...differs], path)
          : 'Give each output its own path.';
      this.context.problems.add(place.source.diagnostic(place.path, 'value', message, hint));
    }
  }
}

/** Suggests a path with the dimensions in which the cells of a matrix differ. */
function suggestPath(one: OutputPath, differs: string[], path: string): string {
  const { matrix } = one.draft.cell;
  const keys = differs.map((key) => {
    const value = matrix[key];
    const scalar =
      value !== null && typeof value === 'object'
        ? Object.keys(value).find((inner) => typeof (value as Record<string, unknown>)[inner] !== 'object')
        : undefined;
    return `\${{ matrix.${key}${scalar === undefined ? '' : `.${scalar}`} }}`;
  });
  const written = String(Object(one.draft.step.body.outputs)[one.name] ?? path).replace(/^\.\//, '');
  const folder = dirname(written) === '.' ? 'out' : dirname(written);
  return `Give each cell its own path: ${folder}/${keys.join('-')}/${basename(written)}`;
}

function connectInput(draft: Draft, role: string, { sources, declaration }: CellInput, outputs: Outputs, context: ParseContext): void {
  const { cell, inputPlaces } = draft;
  const reads = new Set(cell.reads);
  for (const [i, source] of sources.entries()) {
    if (source.kind !== 'path') continue;
    const place = inputPlaces!.get(role)![i]!;
    const wrong = (message: string, hint?: string) =>
      context.reportForCell(cell, place.source.diagnostic(place.path, 'value', message, hint));
    const made = producers(source, outputs, context);
    const own = made.find((written) => written.draft === draft);
    if (own) {
      wrong(`${cell.name} would read its own output ${context.relative(own.path)}`, 'Give the input a narrower path, or move the output.');
      continue;
    }
    for (const { draft: maker } of made) {
      reads.add(maker.cell.name);
      draft.pathEdges ??= new Map();
      draft.pathEdges.set(maker.cell.name, place);
    }
    if (made.length > 0) continue;
    const path = resolve(context.folder, source.pattern);
    const alike = source.glob ? undefined : outputs.alike(path);
    if (alike)
      wrong(
        `the input ${context.relative(path)} and the output ${context.relative(alike.path)} of ${alike.draft.cell.name} ${onlyDiffer(path, alike.path)}`,
        SHARED,
      );
    const problem = alike ? undefined : missingInput(role, source, declaration, context);
    if (problem) wrong(...problem);
  }
  cell.reads = [...reads];
}

/** The outputs that a path or glob equals, is inside of, contains or may match. */
function producers({ pattern, glob }: InputSource & { kind: 'path' }, outputs: Outputs, context: ParseContext): OutputPath[] {
  const own = join(context.root, '.tunesmith');
  const path = resolve(context.folder, glob ? staticFolder(pattern) : pattern);
  // An input folder does not include its .tunesmith folder.
  const below = outputs.inside(path).filter((written) => within(path, own) || !within(written.path, own));
  const near = [...outputs.containing(path), ...below];
  const match = glob ? matcher(pattern, context.folder) : () => 'itself';
  return [...new Set(near)].filter((written) => {
    const how = match(written.path);
    return how === 'itself' || (how === 'inside' && isFolder(written.path, context));
  });
}

/** Whether an output is a folder; if it does not exist yet, whether its name looks like one. */
function isFolder(path: string, context: ParseContext): boolean {
  const { kind } = context.environment.lookUp(path);
  return kind === undefined ? !/\.\w+$/.test(path) : kind === 'folder';
}

function missingInput(
  role: string,
  { pattern, glob }: InputSource & { kind: 'path' },
  { kind, many }: CellInput['declaration'],
  context: ParseContext,
): [string, string?] | undefined {
  const { count, kind: there } = context.environment.lookUp(pattern, glob);
  const what = kind === 'any' ? 'file or folder' : kind;
  const from = 'Paths are relative to the folder of the pipeline file.';
  if (count === 0 && !glob)
    return [`there is no ${what} ${pattern}, and no step makes it`, [similarPath(pattern, context.folder) ?? '', from].join(' ').trim()];
  if (count === 0) {
    const files = kind === 'folder' && !pattern.endsWith('/') ? 'A glob matches files. End it with / to match folders.' : '';
    return [
      `nothing matches ${pattern}`,
      similarPath(staticFolder(pattern), context.folder) || files || `${from} Globs skip names that begin with a dot, and node_modules.`,
    ];
  }
  if (count > 1 && !many) return [`input "${role}" takes one ${what}, but ${count} match ${pattern}`, 'Name one of them.'];
  return glob || kind === 'any' || kind === there ? undefined : [`input "${role}" takes a ${kind}, but ${pattern} is a ${there}`];
}
