/**
 * `run --watch`: runs, waits until something that the pipeline reads has changed, runs again. What is watched is how its
 * files look, not the news of a file system: many changes during a run are one difference, so they make one more run.
 */

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidError, renderDiagnostics } from '../diagnostic.ts';
import type { RunEvent } from '../events.ts';
import { forget } from '../once.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { readPipeline } from '../pipeline/read.ts';
import { printableJson } from '../printable.ts';
import { nearPath } from '../report/failure.ts';
import { printLines } from '../report/print.ts';
import { count } from '../report/text.ts';
import { codeLooks, inputLooks, type Looks, looksNow, textLooks } from '../run/watched.ts';
import { failed } from './failed.ts';
import type { Interruptions } from './interruptions.ts';
import type { PipelineOptions } from './pipeline-file.ts';

const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };

export interface Watch extends Pick<PipelineOptions, 'param' | 'params'> {
  file: string;
  json?: boolean;
  interrupted: Interruptions;
  /** Calls `begin` when the pipeline is read, before its inputs are. */
  run(begin: (pipeline: Pipeline) => Promise<void>): Promise<number>;
}

/** Ends with Ctrl-C: 0 where nothing ran at that moment. */
export async function watch({ file, param, params, json, interrupted, run }: Watch): Promise<number> {
  const { signal } = interrupted;
  for (;;) {
    forget();
    const texts = textLooks(file, params);
    let begun: { pipeline: Pipeline; known: Looks; inputs: Looks } | undefined;
    let mistakes = '';
    const code = await run(async (pipeline) => {
      begun = { pipeline, known: new Map([...texts, ...(await codeLooks(pipeline))]), inputs: inputLooks(pipeline) };
    }).catch((error: unknown) => {
      mistakes = mistakesOf(error);
      return failed(error, version);
    });
    if (signal.aborted) return code;
    tell(json, { type: 'watching', files: begun ? begun.known.size + begun.inputs.size : texts.size });
    const changed = begun
      ? await change(begun, signal)
      : await mended(mistakes, () => readPipeline(file, { set: param, paramsFile: params, readOnly: true }), signal);
    if (changed === undefined) return 0;
    tell(json, { type: 'changed', path: changed });
  }
}

/** Resolves with a path that looks otherwise now; undefined once the signal has aborted. */
async function change(
  { pipeline, known, inputs }: { pipeline: Pipeline; known: Looks; inputs: Looks },
  signal: AbortSignal,
): Promise<string | undefined> {
  for (;;) {
    const began = performance.now();
    const different = firstDifference(new Map([...inputs, ...known]), looksNow(pipeline, known.keys()));
    if (different !== undefined) {
      // Who saves several files is not done with the first.
      await pause(LEAST, signal);
      return signal.aborted ? undefined : different;
    }
    await pause(Math.max(LEAST, (performance.now() - began) * 20), signal);
    if (signal.aborted) return undefined;
  }
}

/** Resolves once a pipeline with mistakes reads otherwise: which of all files would mend it, nobody can say. */
async function mended(before: string, read: () => Promise<Pipeline>, signal: AbortSignal): Promise<string | undefined> {
  for (;;) {
    const began = performance.now();
    forget();
    if ((await read().then(() => undefined, mistakesOf)) !== before) return 'what was wrong';
    await pause(Math.max(LEAST, (performance.now() - began) * 20), signal);
    if (signal.aborted) return undefined;
  }
}

function mistakesOf(error: unknown): string {
  return error instanceof InvalidError ? renderDiagnostics(error.diagnostics) : String(error);
}

/** Milliseconds; longer where looking takes long, so that a watch never takes more than a twentieth of a core. */
const LEAST = 200;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => {});
}

function firstDifference(before: Looks, now: Looks): string | undefined {
  for (const [path, look] of now) if (before.get(path) !== look) return path;
  for (const path of before.keys()) if (!now.has(path)) return path;
  return undefined;
}

function tell(json: boolean | undefined, event: Extract<RunEvent, { type: 'watching' | 'changed' }>): void {
  const text =
    event.type === 'watching'
      ? `\nwatching ${count(event.files, 'file')}: a change runs it again, Ctrl-C ends`
      : `${nearPath(event.path)} changed`;
  printLines([json ? printableJson(event) : text]);
}
