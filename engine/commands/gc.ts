/** `tunesmith gc`: removes stored results that are no longer needed. Lists them before it removes them. */

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { usage } from '../contract/errors.ts';
import { tableLines } from '../format/table.ts';
import { colorsFor, printableJson, printLines } from '../format/terminal-text.ts';
import { bytes, count, moment } from '../format/text.ts';
import { type Collection, collect, type GcScope, isRunning, type Leftover, leftovers, planCollection, removeLeftovers } from '../run/gc.ts';
import { outerProject, projectRoot } from './pipeline-file.ts';

interface Options extends GcScope {
  kept?: boolean;
  failed?: boolean;
  yes?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

export default async function gc({ yes, dryRun, json, kept, failed, ...scope }: Options): Promise<number> {
  const wanted = Object.keys(scope).length > 0;
  if (!wanted && !kept && !failed)
    throw usage(
      'gc needs a rule for what to remove',
      'Give --keep-runs N, --older-than 30d or --max-size 10GB. If several are given, a result is removed only if each of these options would remove it. --kept and --failed remove kept files and the outputs of failed cells.',
    );
  const root = projectRoot();
  if (!existsSync(join(root, '.tunesmith'))) throw usage(`no pipeline has run in the project ${root}`, outerProject(root));
  const planned = wanted ? planCollection(root, scope) : undefined;
  const aside = leftovers(root);
  const going = leftovers(root, scope.olderThan).filter(({ kind }) => (kind === 'kept' ? kept : failed));
  if (failed && !dryRun && going.some(({ kind }) => kind === 'failed') && isRunning(root))
    throw usage('a run is in progress and may need the files in .tunesmith/failed', 'Wait until it has ended.');
  const nothing = going.length === 0 && (!planned || planned.results.length + planned.objects.length + planned.logs.length === 0);
  const person = process.stdin.isTTY === true && process.stdout.isTTY === true && !json;
  const remove = !dryRun && !nothing && (yes || person);
  const what = [...(planned ? [gone(planned)] : []), ...going.map(({ path }) => relative(root, path))].join(', ');
  if (!json) printLines([...(planned ? planLines(planned, scope) : []), ...asideLines(root, aside, going)]);
  const details = (collection: Collection | undefined) => ({
    ...(collection && figures(collection)),
    aside: aside.map((one) => shown(root, one, going)),
  });
  if (!remove || (!yes && !(await agreed(what)))) {
    if (json) printLines([printableJson({ type: 'gc', removed: false, ...details(planned) })]);
    else if (!nothing)
      printLines(['', person ? 'nothing was removed' : 'nothing was removed; run the command again with --yes to remove these results']);
    return 0;
  }
  const done = wanted ? await collect(root, scope, new AbortController().signal) : undefined;
  removeLeftovers(going);
  if (json) printLines([printableJson({ type: 'gc', removed: true, ...details(done) })]);
  else printLines(['', `removed ${[...(done ? [gone(done)] : []), ...going.map(({ path }) => relative(root, path))].join(', ')}`]);
  return 0;
}

/** The kept files and the outputs of failed cells, and whether each is removed. */
function asideLines(root: string, aside: Leftover[], going: Leftover[]): string[] {
  if (aside.length === 0) return [];
  const lines = aside.map((one) => {
    const { path, files, bytes: size, removed } = shown(root, one, going);
    return `  ${path}: ${count(files, 'file')}, ${bytes(size)}, ${removed ? 'to remove' : `removed only with --${one.kind}`}`;
  });
  return ['', 'kept files and outputs of failed cells:', ...lines];
}

function shown(root: string, { kind, path, files, bytes }: Leftover, going: Leftover[]) {
  return { kind, path: relative(root, path), files, bytes, removed: going.some((other) => other.path === path) };
}

function planLines(planned: Collection, { maxSize }: GcScope): string[] {
  const { results, total, kept, left } = planned;
  const reasons = [
    [kept.lock, 'a lockfile'],
    [kept.running, 'a run in progress'],
    [kept['other project'], 'another project with this cache'],
  ] as const;
  const why = reasons.filter(([n]) => n > 0).map(([n, who]) => `${n.toLocaleString('en-US')} by ${who}`);
  const by = why.length > 0 ? `; needed ${why.join(', ')}` : '';
  const stay = `to keep: ${(total - results.length).toLocaleString('en-US')} of ${count(total, 'result')}, ${bytes(left)}${by}`;
  const over =
    maxSize !== undefined && left > maxSize
      ? [`the cache stays larger than ${bytes(maxSize)}, because the other results are still needed`]
      : [];
  if (results.length + planned.objects.length + planned.logs.length === 0) return ['there is nothing to remove', stay, ...over];
  const rows = results.slice(0, SHOWN).map(({ subject, lastUsed, fingerprint }) => [subject, moment(lastUsed), fingerprint.slice(0, 12)]);
  const screen = { columns: process.stdout.columns || 120, heading: colorsFor(process.stdout).bold };
  const table = rows.length > 0 ? tableLines(['result', 'last used', 'fingerprint'], rows, screen) : [];
  const more = results.length > SHOWN ? [`+ ${count(results.length - SHOWN, 'more result')}`] : [];
  return [...table, ...more, ...(rows.length > 0 ? [''] : []), `to remove: ${gone(planned)}`, stay, ...over];
}

const SHOWN = 20;

function gone({ results, objects, bytes: size, logs }: Collection): string {
  const parts = [count(results.length, 'result'), `${count(objects.length, 'object')} (${bytes(size)})`];
  return [...parts, ...(logs.length > 0 ? [count(logs.length, 'log')] : [])].join(', ');
}

function figures({ results, objects, bytes, left, total, kept, logs }: Collection) {
  const removed = results.map(({ subject, fingerprint, lastUsed }) => ({ subject, fingerprint, lastUsed }));
  return { results: removed, objects: objects.length, bytes, left, total, kept, logs: logs.length };
}

/** Asks for confirmation. Ctrl-C and the end of the input mean no. */
async function agreed(what: string): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  const closed = once(prompt, 'close').then(() => '');
  try {
    const answer = await Promise.race([prompt.question(`\nRemove ${what}? [y/N] `), closed]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    prompt.close();
  }
}
