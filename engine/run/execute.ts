/**
 * Executes one cell, with retries: clears the places of its outputs, runs its work, checks what it made and that what it
 * read is still the same, and publishes. What goes wrong on the way becomes the cell's failure; the former outputs return.
 */
import { lstatSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Content, contentOf, type Reading } from '../../cache/content.ts';
import type { Lease } from '../../cache/lease.ts';
import { modesOf } from '../../cache/modes.ts';
import { place, removeTree, standsAt } from '../../cache/place.ts';
import { stampsOf, stampsWithin } from '../../cache/stamps.ts';
import type { Failure, RunEvent } from '../events.ts';
import { compareBytes } from '../pipeline/cell-name.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
import { StepError } from '../step.ts';
import { Aside, LINK, MADE, type Unstored } from './aside.ts';
import { attempt } from './attempt.ts';
import { Checkpoints } from './checkpoints.ts';
import { secretValues } from './environment.ts';
import { explained, placeOf, type Verdict } from './failure.ts';
import { fetching } from './fetching.ts';
import { componentsOf, fingerprintOf } from './fingerprint.ts';
import type { Guard } from './guard.ts';
import { fetched, type Inputs, manifestOf, resolveInputs } from './inputs.ts';
import type { Locked } from './locked.ts';
import { CellLog } from './log.ts';
import { type Look, type OutputsOf, sameContent, subjectOf } from './look.ts';
import { type Mask, maskOf } from './masking.ts';
import type { Project } from './project.ts';
import { misplacedHint } from './shell-hints.ts';
import { areTakenOver, demandLeases, demandOwnInputs } from './taken-over.ts';
import { Meter, type Usage } from './usage.ts';
import type { Workers } from './workers.ts';

/** What an execution needs of the run that it belongs to. */
export interface Surroundings {
  pipeline: Pipeline;
  project: Project;
  run: number;
  outputsOf: OutputsOf;
  /** GPUs of the cell's own. */
  gpus: string[];
  guard: Guard;
  workers: Workers;
  /** On the places of the cell's outputs. */
  leases: Lease[];
  /** With `--locked`. */
  locked?: Locked;
  /** Aborted by Ctrl-C and by `--on-failure kill`. */
  signal: AbortSignal;
  emit(event: RunEvent): void;
}

export type Execution = { usage?: Usage } & (
  | ({ state: 'ran'; log: string } & Made)
  | { state: 'failed'; failure: Failure }
  | { state: 'canceled'; log: string }
);

export async function execute(cell: Cell, found: Look, why: string, around: Surroundings): Promise<Execution> {
  const meter = new Meter();
  const path = around.project.places.log(around.run, cell.name);
  const mask = maskOf(secretValues(cell));
  const log = new CellLog(path, mask, (stream, line) => {
    // A step's own output is often a library's chatter: it is in the log. What it says through `log` is meant to be seen.
    if (cell.action.kind === 'shell' || stream === 'step') around.emit({ type: 'log', cell: cell.name, stream, line });
  });
  let checkpoints: Checkpoints | undefined;
  try {
    const written = await stampsOfAll(found.inputs, around);
    if (cell.action.kind === 'step') checkpoints = await Checkpoints.hold(around.project, found.fingerprint, around.signal);
    for (let number = 1; ; number++) {
      if (around.signal.aborted) return { state: 'canceled', log: path };
      around.emit({ type: 'running', cell: cell.name, why, attempt: number, log: path });
      const ending = await once(cell, found, written, checkpoints, log, mask, meter, around);
      if (checkpoints && standsAt(checkpoints.folder)) {
        // Where an input changed meanwhile, it may have learned from both.
        if (ending !== 'canceled' && 'made' in ending) checkpoints.remove();
        else if (await changedMeanwhile(cell, found, written, around)) checkpoints.remove();
      }
      if (ending === 'canceled') return { state: 'canceled', log: path, usage: meter.usage };
      if ('made' in ending) {
        removeFailed(cell, around);
        return { state: 'ran', ...ending.made, log: path, usage: meter.usage };
      }
      const { message, option, detail } = ending.failed;
      if (ending.final || number > cell.retry.times) {
        const changed = await changedMeanwhile(cell, found, written, around);
        const hint = changed ? `${changed} changed while it ran: run again, if that is why` : ending.failed.hint;
        const tail = [...log.tail];
        if (detail) log.detail(detail);
        const place = option && (await placeOf(option, cell, around.pipeline, message));
        return { state: 'failed', failure: { message, place, hint, stack: ending.failed.stack, tail, log: path }, usage: meter.usage };
      }
      log.detail([`attempt ${number} failed: ${message}`, detail].filter(Boolean).join('\n'));
      log.tail.length = 0;
      await sleep(delayBefore(number, cell.retry), undefined, { signal: around.signal }).catch(() => {});
    }
  } finally {
    checkpoints?.release();
    log.close();
    if (log.trouble)
      around.project.notice(`the log ${relative(around.project.root, path)} is not whole: ${log.trouble.message}`, cell.name);
  }
}

/**
 * Stores what an earlier run of the cell made and could not store. Undefined where there is no such thing, or it is no longer what was
 * made: then the cell has to run.
 */
export async function storeUnstored(cell: Cell, found: Look, around: Surroundings): Promise<Made | undefined> {
  const { project } = around;
  const failed = project.places.failed(cell.name);
  const unstored = await unstoredIn(failed, cell, found, project);
  if (!unstored) return undefined;
  const written = await stampsOfAll(found.inputs, around);
  const aside = Aside.begin(project, cell);
  try {
    for (const [name, { at }] of Object.entries(unstored.outputs)) await place(join(failed, at), aside.staged(name));
    await aside.clear(cell.outputs);
    await aside.placeStaged();
    const made = await publish(cell, found, written, aside, around);
    await aside.keepNew();
    removeFailed(cell, around);
    new Checkpoints(join(project.places.checkpoints, found.fingerprint), () => {}).remove();
    return made;
  } catch (error) {
    await aside.keepFormer();
    throw asUnstored(error);
  }
}

async function unstoredIn(failed: string, cell: Cell, found: Look, { cache }: Project): Promise<Unstored | undefined> {
  try {
    const unstored: Unstored = JSON.parse(readFileSync(join(failed, MADE), 'utf8'));
    if (unstored.fingerprint !== found.fingerprint) return undefined;
    for (const name of Object.keys(cell.outputs)) {
      const { content, at } = unstored.outputs[name]!;
      if (!sameContent(content, await contentOf(join(failed, at), cache.memo))) return undefined;
    }
    return unstored;
  } catch {
    return undefined; // there is none, or it is damaged
  }
}

/** The error's own remedy, and that nothing has to run again. */
function asUnstored(error: unknown): StepError {
  const { message, hint } = explained(error);
  const isFull = /^(the )?disk (is )?(full|quota)/.test(message);
  if (hint === undefined || isFull)
    return new StepError(message, `${isFull ? 'Free space' : 'Put that right'} and run again: what the cell made ${STORED_THEN}`);
  return new StepError(message, `${hint.replace(/\.?$/, '.')} What the cell made ${STORED_THEN}`);
}

const STORED_THEN = 'lies in .tunesmith/failed, and is stored then without running again.';

/** What an earlier attempt left, once the cell has succeeded. */
function removeFailed(cell: Cell, { project }: Surroundings): void {
  try {
    removeTree(project.places.failed(cell.name));
  } catch {
    // It is in nobody's way.
  }
}

function delayBefore(retry: number, { delay, factor, longest }: Cell['retry']): number {
  return Math.min(delay * factor ** (retry - 1), longest);
}

interface Made {
  outputs: Record<string, Content>;
  /** False where what it read changed meanwhile: what was made is not what the fingerprint says. */
  kept: boolean;
}

/** `final`: it succeeded but for the storing, or its outputs are another run's, so that it must not be tried again. */
type Ending = { made: Made } | { failed: Verdict; final?: boolean } | 'canceled';

/** One attempt, from clearing the outputs' places to filling them. */
async function once(
  cell: Cell,
  found: Look,
  written: Stamps,
  checkpoints: Checkpoints | undefined,
  log: CellLog,
  mask: Mask,
  meter: Meter,
  around: Surroundings,
): Promise<Ending> {
  const { project, signal } = around;
  const deadline = new AbortController();
  const timer = cell.timeout === undefined ? undefined : setTimeout(() => deadline.abort(), Math.min(cell.timeout, LONGEST_TIMER));
  const aside = Aside.begin(project, cell);
  let verdict: Verdict | undefined;
  let trouble: unknown;
  try {
    await demandOwnInputs(found.inputs, around);
    const inputs = await fetched(found.inputs, cell, project, fetching(cell, log, around, AbortSignal.any([signal, deadline.signal])));
    const shell = cell.action.kind === 'shell';
    if (shell) await aside.clear(cell.outputs);
    const outputs = Object.fromEntries(Object.entries(cell.outputs).map(([name, { path }]) => [name, shell ? path : aside.staged(name)]));
    verdict = await attempt({
      ...around,
      cell,
      inputs,
      fingerprint: found.fingerprint,
      outputs,
      scratch: aside.scratch,
      checkpoints: checkpoints?.folder,
      log,
      mask,
      meter,
      signal: AbortSignal.any([signal, deadline.signal]),
    });
    clearTimeout(timer);
    if (deadline.signal.aborted) verdict = { message: `timed out after ${duration(cell.timeout!)}` };
    if (!signal.aborted) verdict ??= missing(cell, outputs, around.pipeline);
    demandLeases(around.leases);
    if (!verdict && !signal.aborted) {
      if (!shell) {
        await aside.clear(cell.outputs);
        await aside.placeStaged();
      }
      const made = await publish(cell, found, written, aside, around);
      await aside.keepNew();
      return { made };
    }
  } catch (error) {
    trouble = error;
  } finally {
    clearTimeout(timer);
  }
  const taken = areTakenOver(around.leases);
  const left = taken ? await aside.keepNew() : await aside.keepFormer();
  const unstored = trouble !== undefined && (await unstoredIn(project.places.failed(cell.name), cell, found, project)) !== undefined;
  if (signal.aborted) return 'canceled';
  if (deadline.signal.aborted) verdict = { message: `timed out after ${duration(cell.timeout!)}` };
  else if (trouble) verdict = explained(unstored ? asUnstored(trouble) : trouble);
  if (left && verdict) verdict.detail = [verdict.detail, `what it left is in ${relative(project.root, left)}`].filter(Boolean).join('\n');
  return { failed: verdict!, final: unstored || taken };
}

/** Node takes a longer one, some 24 days, for none at all. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** A declared output that was not made, or is not what was declared. */
function missing(cell: Cell, outputs: Record<string, string>, { folder }: Pipeline): Verdict | undefined {
  for (const [name, { path, declaration }] of Object.entries(cell.outputs)) {
    const at = outputs[name]!;
    if (!standsAt(at)) {
      const shown = relative(folder, path);
      const where = cell.action.kind === 'shell' ? ` at ${shown}` : '';
      const hint = cell.action.kind === 'shell' ? misplacedHint(cell.action.commands, shown, folder) : undefined;
      return { message: `did not make output ${name}${where}`, hint: hint ?? 'make it, or take it out of `outputs`' };
    }
    const kind = lstatSync(at).isDirectory() ? 'folder' : 'file';
    if (declaration.kind !== 'any' && declaration.kind !== kind && !lstatSync(at).isSymbolicLink()) {
      return { message: `made output ${name} as a ${kind}, but declares a ${declaration.kind}` };
    }
  }
  return undefined;
}

/** Makes the result known: objects first, then the index. What ran on inputs that changed meanwhile is not kept. */
async function publish(cell: Cell, found: Look, written: Stamps, aside: Aside, around: Surroundings): Promise<Made> {
  const { project, pipeline } = around;
  const { cache, records } = project;
  const outputs: Record<string, Content> = Object.create(null);
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    const content = await contentOf(path, cache.memo);
    // A link that leads nowhere.
    if (!content)
      throw Object.assign(new Error(`output ${name} is a link that leads nowhere`), { hint: 'make what it leads to, or make a file' });
    const modes = modesOf(path);
    outputs[name] = modes ? { ...content, modes } : content;
  }
  around.locked?.demandBytes(cell, outputs);
  const changed = await changedMeanwhile(cell, found, written, around);
  if (changed) await demandOwnInputs(found.inputs, around);
  demandLeases(around.leases);
  if (changed)
    project.notice(`${changed} changed while ${cell.name} ran: its result is not kept, and the next run executes it again`, cell.name);
  else if (cell.cache) {
    aside.made(found.fingerprint, outputs);
    for (const input of Object.values(found.inputs)) records.keepManifest(input.hash, await manifestOf(input, cache.memo));
    // No gc may come between: it would take objects that no result refers to yet.
    const turn = await cache.turns.publish();
    try {
      for (const [name, content] of Object.entries(outputs)) await cache.objects.put(cell.outputs[name]!.path, content);
      cache.index.save({
        fingerprint: found.fingerprint,
        subject: subjectOf(cell, pipeline),
        outputs,
        record: { components: found.components } as never,
        created: new Date().toISOString(),
      });
    } finally {
      turn.release();
    }
  }
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    records.wrote(path, outputs[name]!.hash, found.fingerprint);
    if (lstatSync(path).isSymbolicLink()) records.wrote(path, LINK, found.fingerprint);
  }
  return { outputs, kept: !changed };
}

/** When each thing that a cell reads was last written, by path; of folders the files in them, too. */
type Stamps = Map<string, { whole: string | undefined; files: Map<string, string> }>;

async function stampsOfAll(inputs: Inputs, { project, signal }: Surroundings): Promise<Stamps> {
  const stamps: Stamps = new Map();
  for (const { sources } of Object.values(inputs)) {
    for (const { path, pinned, origin, reading } of sources) {
      if (pinned) continue;
      let stamp = await stampsOf(path, reading).catch(() => undefined);
      // Another run may be making it anew, and have moved it aside meanwhile: it is there again when that is done.
      if (stamp === undefined && origin) {
        for (const lease of await project.leaseOutputs([path], { signal })) lease.release();
        stamp = await stampsOf(path, reading);
      }
      stamps.set(path, { whole: stamp, files: await stampsWithin(path, reading).catch(() => new Map()) });
    }
  }
  return stamps;
}

/** Names what the cell read that is no longer as it was; the stamps of files make this quick. */
async function changedMeanwhile(
  cell: Cell,
  found: Look,
  written: Stamps,
  { pipeline, project, outputsOf }: Surroundings,
): Promise<string | undefined> {
  const named = (role: string, path: string) => `input ${role} (${relative(pipeline.folder, path)})`;
  try {
    const inputs = await resolveInputs(cell, pipeline, project, outputsOf);
    for (const [role, { sources }] of Object.entries(found.inputs)) {
      const now = new Map(inputs[role]?.sources.map((source) => [source.path, source.content]));
      for (const { path, content, origin, reading } of sources) {
        // What a cell made is known by its record: here the file itself counts.
        const current = origin ? await contentOf(path, project.cache.memo) : now.get(path);
        // An edit that was taken back may have been read.
        const before = written.get(path);
        if (sameContent(content, current) && (!before || (await stampsOf(path, reading)) === before.whole)) continue;
        return named(role, await fileWithin(path, before?.files ?? new Map(), reading));
      }
    }
    const { code } = found.components;
    if (code && cell.action.kind === 'step' && 'path' in cell.action.module) {
      const folder = dirname(cell.action.module.path);
      for (const [file, hash] of Object.entries(code.files)) {
        if ((await contentOf(resolve(folder, file), project.cache.memo))?.hash !== hash) return file;
      }
    }
    // Files that were added, and what else there is.
    return fingerprintOf(await componentsOf(cell, inputs)) === found.fingerprint ? undefined : 'what it reads';
  } catch {
    return 'what it reads';
  }
}

/** The path of the first file in a folder that is other than it was; the folder itself where none can be found. */
async function fileWithin(path: string, before: Map<string, string>, reading: Reading | undefined): Promise<string> {
  const now = await stampsWithin(path, reading).catch(() => new Map<string, string>());
  const names = [...new Set([...before.keys(), ...now.keys()])].sort(compareBytes);
  const changed = names.find((name) => before.get(name) !== now.get(name));
  return changed === undefined ? path : join(path, changed);
}

/** As it is written in a pipeline: `90s`, `5m`, `2h`. */
function duration(ms: number): string {
  for (const [unit, size] of Object.entries({ h: 3_600_000, m: 60_000, s: 1000 })) if (ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}
