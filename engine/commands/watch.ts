/** `run --watch`: runs again when a file has changed. It polls, so that many changes during a run cause only one more run. */

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pipeline } from '../contract/cell.ts';
import { InvalidError, renderDiagnostics } from '../contract/errors.ts';
import type { RunEvent } from '../contract/events.ts';
import { clearRunCaches } from '../contract/step-code.ts';
import { printableJson, printLines } from '../format/terminal-text.ts';
import { count } from '../format/text.ts';
import { readPipeline } from '../pipeline/index.ts';
import { nearPath } from '../report/outcome.ts';
import { codeStates, currentStates, inputStates, textStates, type WatchSnapshot } from '../run/watch-snapshot.ts';
import { failed, type Interruptions } from './exit-code.ts';
import type { PipelineOptions } from './pipeline-file.ts';

const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };

interface Watch extends Pick<PipelineOptions, 'param' | 'params'> {
  file: string;
  json?: boolean;
  interrupted: Interruptions;
  /** Calls `begin` after reading the pipeline and before reading its inputs. */
  run(begin: (pipeline: Pipeline) => Promise<void>): Promise<number>;
}

/** Runs until Ctrl-C. Returns exit code 0 if nothing was running at that moment. */
export async function watch({ file, param, params, json, interrupted, run }: Watch): Promise<number> {
  const { signal } = interrupted;
  for (;;) {
    clearRunCaches();
    const texts = textStates(file, params);
    let begun: { pipeline: Pipeline; known: WatchSnapshot; inputs: WatchSnapshot } | undefined;
    let mistakes = '';
    const code = await run(async (pipeline) => {
      begun = { pipeline, known: new Map([...texts, ...(await codeStates(pipeline))]), inputs: inputStates(pipeline) };
    }).catch((error: unknown) => {
      mistakes = mistakesOf(error);
      return failed(error, version);
    });
    if (signal.aborted) return code;
    report(json, { type: 'watching', files: begun ? begun.known.size + begun.inputs.size : texts.size });
    const changed = begun
      ? await change(begun, signal)
      : await mended(mistakes, () => readPipeline(file, { set: param, paramsFile: params, readOnly: true }), signal);
    if (changed === undefined) return 0;
    report(json, { type: 'changed', path: changed });
  }
}

/** Resolves with the first path that has changed, or with undefined if the signal aborts. */
async function change(
  { pipeline, known, inputs }: { pipeline: Pipeline; known: WatchSnapshot; inputs: WatchSnapshot },
  signal: AbortSignal,
): Promise<string | undefined> {
  for (;;) {
    const began = performance.now();
    const different = firstDifference(new Map([...inputs, ...known]), currentStates(pipeline, known.keys()));
    if (different !== undefined) {
      // Wait, because an editor may be saving several files.
      await pause(LEAST, signal);
      return signal.aborted ? undefined : different;
    }
    await pause(Math.max(LEAST, (performance.now() - began) * 20), signal);
    if (signal.aborted) return undefined;
  }
}

/** Resolves when an invalid pipeline is valid or has other errors. Polls by reading it, because any file may hold the fix. */
async function mended(before: string, read: () => Promise<Pipeline>, signal: AbortSignal): Promise<string | undefined> {
  for (;;) {
    const began = performance.now();
    clearRunCaches();
    if ((await read().then(() => undefined, mistakesOf)) !== before) return 'the pipeline or a file that it reads';
    await pause(Math.max(LEAST, (performance.now() - began) * 20), signal);
    if (signal.aborted) return undefined;
  }
}

function mistakesOf(error: unknown): string {
  return error instanceof InvalidError ? renderDiagnostics(error.diagnostics) : String(error);
}

/** Shortest pause between polls, in milliseconds. Slow polls get a longer pause, so that a watch uses at most 5% of a core. */
const LEAST = 200;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => {});
}

function firstDifference(before: WatchSnapshot, now: WatchSnapshot): string | undefined {
  for (const [path, look] of now) if (before.get(path) !== look) return path;
  for (const path of before.keys()) if (!now.has(path)) return path;
  return undefined;
}

function report(json: boolean | undefined, event: Extract<RunEvent, { type: 'watching' | 'changed' }>): void {
  const text =
    event.type === 'watching'
      ? `\nwatching ${count(event.files, 'file')}: any change runs the pipeline again; press Ctrl-C to stop`
      : `${nearPath(event.path)} changed`;
  printLines([json ? printableJson(event) : text]);
}
