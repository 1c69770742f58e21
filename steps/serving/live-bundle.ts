/**
 * The bundle that a server answers with. A new one is opened beside the old one; requests that have arrived are still answered by the
 * old one, which is then closed.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpBindings } from '@hono/node-server';
import type { Bundle } from '../ml/answering/bundle.ts';
import { openBundle } from '../ml/answering/bundle.ts';
import { currentBundle } from '../ml/models/pointer.ts';
import type { Served } from './app.ts';
import { createApp } from './app.ts';
import type { ServedModel } from './served-model.ts';

interface LiveOptions {
  /** A folder, or a pointer to one. */
  given: string;
  openModel(bundle: Bundle): Promise<ServedModel>;
  served: Omit<Served, 'model'>;
  /** Reports what happened to a new bundle. */
  tell(line: string): void;
  onReload(outcome: 'changed' | 'failed'): void;
}

/** An opened bundle, and the requests that it has not answered. */
interface Version {
  model: ServedModel;
  app: ReturnType<typeof createApp>;
  requests: number;
  unused?: () => void;
}

export class LiveBundle {
  #version: Version;
  #reloading: Promise<void> | undefined;
  /** Another reload was requested during one. */
  #again = false;
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  private constructor(
    private readonly options: LiveOptions,
    version: Version,
  ) {
    this.#version = version;
  }

  static async open(options: LiveOptions): Promise<LiveBundle> {
    return new LiveBundle(options, await openVersion(options));
  }

  get bundle(): Bundle {
    return this.#version.model.bundle;
  }

  /** Answers a request with the bundle that is current when it arrives. */
  fetch(request: Request, env: HttpBindings): Response | Promise<Response> {
    const version = this.#version;
    version.requests++;
    env.outgoing.once('close', () => {
      version.requests--;
      if (version.requests === 0) version.unused?.();
    });
    return version.app.fetch(request, env);
  }

  /** Opens the bundle again. If it cannot be used, the old one stays. */
  reload(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#reloading) this.#again = true;
    this.#reloading ??= this.#reload().finally(async () => {
      this.#reloading = undefined;
      if (!this.#again) return;
      this.#again = false;
      await this.reload();
    });
    return this.#reloading;
  }

  async #reload(): Promise<void> {
    const { given, tell, onReload } = this.options;
    let next: Version;
    try {
      next = await openVersion(this.options);
    } catch (error) {
      onReload('failed');
      const { message, hint } = error as Error & { hint?: string };
      return tell(`The new bundle at ${given} cannot be used, so the old one stays: ${message}${hint ? `. ${hint}` : ''}`);
    }
    const old = this.#version;
    this.#version = next;
    onReload('changed');
    tell(`Serving the new bundle at ${given} (${next.model.bundle.name})`);
    const closing = drained(old)
      .then(() => old.model.close())
      .catch((error: Error) => tell(`The old bundle could not be closed: ${error.message}`));
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }

  /** Reloads whenever the pointer or a file of the bundle has changed, and nothing has changed since. */
  async watch(signal: AbortSignal, milliseconds = 1000): Promise<void> {
    const { given } = this.options;
    let opened = await stateOf(given);
    let before = opened;
    while (!signal.aborted) {
      await sleep(milliseconds, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      const now = await stateOf(given);
      // A copy may still be running.
      if (now !== opened && now === before) {
        opened = now;
        await this.reload();
      }
      before = now;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reloading;
    await Promise.all([...this.#closing, this.#version.model.close()]);
  }
}

async function openVersion({ given, openModel, served }: LiveOptions): Promise<Version> {
  // The folder itself: a thread that starts later must not open what a link means by then.
  const bundle = await openBundle(await currentBundle(given));
  const folder = await realpath(bundle.folder);
  const inside = (file: string) => path.join(folder, path.relative(bundle.folder, file));
  const model = await openModel({
    ...bundle,
    folder,
    model: typeof bundle.model === 'string' && bundle.model !== '' ? inside(bundle.model) : bundle.model,
  });
  try {
    return { model, app: createApp({ ...served, model }), requests: 0 };
  } catch (error) {
    await model.close();
    throw error;
  }
}

async function drained(version: Version): Promise<void> {
  if (version.requests > 0)
    await new Promise<void>((resolve) => {
      version.unused = resolve;
    });
}

/** Changes with the folder that is meant, and with the files in it. */
async function stateOf(given: string): Promise<string> {
  try {
    const folder = await realpath(await currentBundle(given));
    const names = (await readdir(folder, { recursive: true })).sort();
    const files = await Promise.all(
      names.map(async (name) => {
        const { mtimeMs, size, ino } = await stat(path.join(folder, name));
        return `${name} ${mtimeMs} ${size} ${ino}`;
      }),
    );
    return [folder, ...files].join('\n');
  } catch (error) {
    return (error as Error).message;
  }
}
