/** A TensorFlow session over a SavedModel. Its variables live on the device, as long as the session does. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostTensor } from '../runtime.ts';
import type { Binding } from './backend.ts';

/** A tensor in TensorFlow's memory, which can be fed repeatedly. */
export interface Held {
  id: number;
}

export class Session {
  readonly #binding: Binding;
  readonly #id: number;

  constructor(binding: Binding, savedModel: Uint8Array) {
    this.#binding = binding;
    const folder = mkdtempSync(join(tmpdir(), 'tunesmith-graph-'));
    try {
      writeFileSync(join(folder, 'saved_model.pb'), savedModel);
      this.#id = binding.loadSavedModel(folder, 'serve');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Feeds nodes by name, and returns the values of others in the order of their names. */
  run(feeds: Record<string, HostTensor | Held>, fetches: string[]): HostTensor[] {
    const names = Object.keys(feeds);
    const given: number[] = [];
    const ids = Object.values(feeds).map((feed) => {
      if ('id' in feed) return feed.id;
      const { id } = hold(this.#binding, feed);
      given.push(id);
      return id;
    });
    try {
      const places = (list: string[]) => list.map((name) => (name.includes(':') ? name : `${name}:0`)).join();
      return this.#binding.runSavedModel(this.#id, ids, places(names), places(fetches)).map((output) => this.#take(output));
    } catch (error) {
      throw explained(error as Error);
    } finally {
      for (const id of given) this.#binding.deleteTensor(id);
    }
  }

  close(): void {
    this.#binding.deleteSavedModel(this.#id);
  }

  #take({ id, shape, dtype }: { id: number; shape: number[]; dtype: number }): HostTensor {
    const { TF_FLOAT, TF_INT32 } = this.#binding;
    const data = this.#binding.tensorDataSync(id);
    this.#binding.deleteTensor(id);
    return { dtype: dtype === TF_FLOAT ? 'float32' : dtype === TF_INT32 ? 'int32' : 'bool', shape, data };
  }
}

/** Copies a tensor into TensorFlow's memory. */
export function hold({ TF_FLOAT, TF_INT32, TF_BOOL, createTensor }: Binding, { shape, dtype, data }: HostTensor): Held {
  return { id: createTensor(shape, { float32: TF_FLOAT, int32: TF_INT32, bool: TF_BOOL }[dtype], data) };
}

function explained(error: Error): Error {
  if (!/OOM|RESOURCE_EXHAUSTED|Resource exhausted|failed to allocate/i.test(error.message)) return error;
  return new Error(
    `TensorFlow ran out of memory for a batch: lower batch_size, or max_length of tokenize. Its message: ${error.message.split('\n', 1)[0]}`,
  );
}
