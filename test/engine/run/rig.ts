/** A project, and the engine that runs its pipeline in this process and records all events. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { RunEvent } from '../../../engine/contract/events.ts';
import { readPipeline } from '../../../engine/pipeline/index.ts';
import { planPipeline } from '../../../engine/run/plan.ts';
import { type RunOptions, runPipeline } from '../../../engine/run/run.ts';
import { type Files, project } from '../../rig.ts';

export type Options = Partial<RunOptions> & { set?: string[]; hear?(event: RunEvent): void };

export function engine(yaml: string, files: Files = {}) {
  const p = project({ 'p.yaml': yaml, ...files });
  const read = (set?: string[], readOnly = false) => readPipeline(p.path('p.yaml'), { set, readOnly });
  return {
    ...p,

    async go({ set, hear, ...options }: Options = {}) {
      const events: RunEvent[] = [];
      const emit = (event: RunEvent) => {
        events.push(event);
        hear?.(event);
      };
      const pipeline = await read(set);
      const summary = await runPipeline(pipeline, { jobs: 2, signal: new AbortController().signal, ...options }, emit);
      if (events.at(-1) !== summary) throw new Error(`the summary is not the last event: ${JSON.stringify(events.at(-1))}`);
      const of = <T extends RunEvent['type']>(type: T) => events.filter((event) => event.type === type) as Extract<RunEvent, { type: T }>[];
      return {
        events,
        summary,
        states: summary.cells,
        why: Object.fromEntries(of('cell').map(({ cell, why }) => [cell, why])),
        failures: Object.fromEntries(of('cell').flatMap(({ cell, failure }) => (failure ? [[cell, failure]] : []))),
        notices: of('notice').map(({ message }) => message),
        lines: of('log').map(({ line }) => line),
        of,
      };
    },

    plan: async (options: Parameters<typeof planPipeline>[1] & { set?: string[] } = {}) =>
      planPipeline(await read(options.set, true), options),

    /** The same run in another process, which may be killed. */
    apart() {
      const child = spawn(process.execPath, ['--import', tsx, fileURLToPath(new URL('./process.ts', import.meta.url)), p.path('p.yaml')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let printed = '';
      child.stdout.on('data', (text) => {
        printed += text;
      });
      const events = () =>
        printed
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as RunEvent);
      const ended = new Promise<RunEvent[]>((resolve) => child.on('close', () => resolve(events())));
      return { pid: child.pid!, events, ended, kill: (signal: NodeJS.Signals) => void child.kill(signal) };
    },

    /** The results of `find` below `folder`. */
    below: (folder: string) => p.find(folder).map((file) => relative(folder, file)),
  };
}

const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
