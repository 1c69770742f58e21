/** `tunesmith cache`: lists, measures, verifies, exports and imports stored results. */

import { existsSync, lstatSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { namesIn } from '../../cache/atomic-move.ts';
import type { ResultEntry } from '../../cache/index.ts';
import { type Cache, openCache } from '../../cache/open.ts';
import { usage } from '../contract/errors.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import { tableLines } from '../format/table.ts';
import { colorsFor, printableJson, printLines } from '../format/terminal-text.ts';
import { bytes, count, moment } from '../format/text.ts';
import { makeOwnFolder, type ProjectPaths, projectPaths } from '../run/project.ts';
import { cellOfName, cellTest } from '../run/select-cells.ts';
import { outerProject, projectRoot } from './pipeline-file.ts';

interface Options {
  file?: string;
  rows: number;
  json?: boolean;
}

export default async function cache([what = '', ...words]: string[], options: Options): Promise<unknown> {
  const command = Object.hasOwn(COMMANDS, what) ? COMMANDS[what] : undefined;
  if (!command) throw usage(`cache has no subcommand "${what}"`, didYouMean(what, Object.keys(COMMANDS), 'the subcommands'));
  const root = projectRoot(options.file);
  return command({ root, places: projectPaths({ root }), words, ...options });
}

interface CacheOptions extends Options {
  readOnly?: boolean;
  root: string;
  places: ProjectPaths;
  words: string[];
}

const COMMANDS: Record<string, (options: CacheOptions) => Promise<unknown>> = { ls, du, verify, export: exportTo, import: importFrom };

function ls(options: CacheOptions): Promise<void> {
  return withCache({ ...options, readOnly: true }, (cache) => {
    const results = cache.index.all().filter(named(options, options.words)).reverse();
    if (options.json) return printLines(results.map((result) => printableJson(result)));
    const shown = results.slice(0, options.rows);
    const rows = shown.map(({ subject, created, outputs, fingerprint }) => [
      subject,
      moment(created),
      bytes(Object.values(outputs).reduce((sum, { size }) => sum + size, 0)),
      fingerprint.slice(0, 12),
    ]);
    const table = tableLines(['result', 'made', 'size', 'fingerprint'], rows, { ...screen(), right: (c) => c === 2 });
    const empty = options.file === undefined && options.words.length === 0 ? 'the cache is empty' : 'there is no such result in the cache';
    const outer = outerProject(options.root);
    printLines([
      ...(rows.length > 0 ? table : [empty, ...(outer ? [outer] : [])]),
      ...(results.length > shown.length ? [`+ ${count(results.length - shown.length, 'older one')}`] : []),
    ]);
  });
}

async function du(options: CacheOptions): Promise<void> {
  none(options, 'du');
  await withCache({ ...options, readOnly: true }, (cache) => {
    const sizes = cache.objects.sizes();
    const needed = new Set<string>();
    const steps = new Map<string, { results: number; objects: Set<string> }>();
    for (const { subject, outputs } of cache.index.all()) {
      const name = subject.replace(/\[.*$/s, '');
      const step = steps.get(name) ?? { results: 0, objects: new Set() };
      steps.set(name, step);
      step.results++;
      for (const hash of Object.values(outputs).flatMap((content) => cache.objects.objectsOf(content))) {
        step.objects.add(hash);
        needed.add(hash);
      }
    }
    const total = (hashes: Iterable<string>) => Array.from(hashes).reduce((sum, hash) => sum + (sizes.get(hash) ?? 0), 0);
    const results = [...steps]
      .map(([step, { results, objects }]) => ({ step, results, bytes: total(objects) }))
      .sort((a, b) => b.bytes - a.bytes);
    const unneeded = total([...sizes.keys()].filter((hash) => !needed.has(hash)));
    const folders = foldersOf(options.places)
      .map(([name, path]) => ({ name, bytes: sizeOf(path) }))
      .filter(({ bytes }) => bytes > 0);
    const objects = total(sizes.keys());
    if (options.json) return printLines([printableJson({ type: 'du', folder: options.places.cache, objects, unneeded, results, folders })]);
    const rows = results.map(({ step, results, bytes: size }) => [step, results.toLocaleString('en-US'), bytes(size)]);
    printLines([
      ...(rows.length > 0 ? [...tableLines(['step', 'results', 'objects'], rows, { ...screen(), right: (c) => c > 0 }), ''] : []),
      `${count(sizes.size, 'object')} in ${options.places.cache}: ${bytes(objects)} (objects that several results share count once)`,
      ...(unneeded > 0 ? [`${bytes(unneeded)} of it belong to no result: \`tunesmith gc\` removes them`] : []),
      ...folders.map(({ name, bytes: size }) => `${name}: ${bytes(size)}`),
    ]);
  });
}

async function verify(options: CacheOptions): Promise<number> {
  none(options, 'verify');
  return withCache(options, async (cache) => {
    const { objects, bytes: size, damaged } = await cache.objects.verify();
    const broken: ResultEntry[] = [];
    for (const result of cache.index.all()) {
      const states = await Promise.all(Object.values(result.outputs).map((content) => cache.objects.state(content)));
      if (states.some((state) => state !== 'ok')) broken.push(result);
    }
    const names = broken.map(({ subject }) => subject);
    if (options.json) printLines([printableJson({ type: 'verify', objects, bytes: size, damaged, broken: names })]);
    else {
      printLines([
        `${count(objects, 'object')} read, ${bytes(size)}: ${damaged.length === 0 ? 'all intact' : `${damaged.length} damaged`}`,
      ]);
      if (damaged.length > 0)
        printLines([
          cache.readOnly
            ? 'the cache is read-only, so the damaged objects stay in place:'
            : `moved the damaged objects to ${join(options.places.cache, 'damaged')}:`,
          ...damaged.map((hash) => `  ${hash}`),
        ]);
      if (broken.length > 0)
        printLines([
          'these results are incomplete; their cells run again when they are needed:',
          ...[...new Set(names)].map((name) => `  ${name}`),
        ]);
    }
    return damaged.length + broken.length > 0 ? 1 : 0;
  });
}

async function exportTo(options: CacheOptions): Promise<void> {
  const [file, ...words] = options.words;
  if (file === undefined)
    throw usage('cache export needs the name of the file to write', 'For example: tunesmith cache export results.tar');
  await withCache(options, async (cache) => {
    const results = [...cache.index.everything()].filter(named(options, words));
    if (results.length === 0)
      throw usage('there is no such result in the cache', outerProject(options.root) ?? '`tunesmith cache ls` lists them.');
    const { exportResults } = await import('../../cache/archive.ts');
    const { broken, ...done } = await exportResults(cache, results, resolve(file));
    if (options.json) printLines([printableJson({ type: 'export', file, ...done, broken: broken.map(({ subject }) => subject) })]);
    else {
      printLines([`wrote ${count(done.results, 'result')} with ${count(done.objects, 'object')}, ${bytes(done.bytes)}, to ${file}`]);
      if (broken.length > 0)
        printLines([`left out, because some of their objects are missing or damaged: ${broken.map(({ subject }) => subject).join(', ')}`]);
    }
  });
}

async function importFrom(options: CacheOptions): Promise<void> {
  const [file, ...more] = options.words;
  if (file === undefined || more.length > 0)
    throw usage('cache import needs a file that `cache export` wrote', 'For example: tunesmith cache import results.tar');
  makeOwnFolder(options.places);
  await withCache(options, async (cache) => {
    const { importResults } = await import('../../cache/archive.ts');
    const done = await importResults(cache, options.places.cache, resolve(file));
    if (options.json) return printLines([printableJson({ type: 'import', file, ...done })]);
    const known = done.known > 0 ? `; ${done.known.toLocaleString('en-US')} ${done.known === 1 ? 'was' : 'were'} already in the cache` : '';
    printLines([`added ${count(done.results, 'result')} with ${count(done.objects, 'object')}, ${bytes(done.bytes)}${known}`]);
  });
}

/** Opens the cache read-only if it does not exist, so that it is not created. */
async function withCache<T>(options: CacheOptions, work: (cache: Cache) => T | Promise<T>): Promise<T> {
  const { places, readOnly = !existsSync(places.cache) } = options;
  const cache = openCache(places.cache, { readOnly, fileHashes: places.memo });
  try {
    return await work(cache);
  } finally {
    cache.close();
  }
}

/** A test for the results of the cells and steps `words` in the pipeline `file`. Without words, every result passes. */
function named({ root, file }: CacheOptions, words: string[]): (result: { subject: string }) => boolean {
  const pipeline = file && relative(root, resolve(file));
  const tests = words.map(cellTest);
  return ({ subject }) => {
    const space = pipeline === undefined ? subject.search(/(?<=\.ya?ml) /i) : pipeline.length;
    const [of, cell] = [subject.slice(0, space), subject.slice(space + 1)];
    if (pipeline !== undefined && of !== pipeline) return false;
    return words.length === 0 || tests.some((isMeant) => isMeant(cellOfName(cell)));
  };
}

function none({ words }: CacheOptions, what: string): void {
  if (words.length > 0) throw usage(`cache ${what} takes no arguments, but got "${words.join(' ')}"`);
}

function foldersOf({ own, cache, kept, checkpoints, work }: ProjectPaths): [string, string][] {
  return [
    ['downloads', join(cache, 'sources')],
    ['damaged objects', join(cache, 'damaged')],
    ['outputs in the project', join(own, 'outputs')],
    ['logs', join(own, 'logs')],
    ['checkpoints', checkpoints],
    ['outputs of failed cells', join(own, 'failed')],
    ['saved copies of files that you changed', kept],
    ['temporary files', work],
  ];
}

function sizeOf(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return 0;
  if (!stat.isDirectory()) return stat.size;
  return namesIn(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

function screen() {
  return { columns: process.stdout.columns || 120, heading: colorsFor(process.stdout).bold };
}
