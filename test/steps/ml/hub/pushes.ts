/** What pushes are tested with: a bundle, a hub, and an account on it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { type PushOptions, push } from '../../../../steps/ml/hub/push.ts';
import { sha256, startHub } from '../../../engine/fetch/hub.ts';
import { promotable } from '../../promote/bundles.ts';

export const TOKEN = 'secret-of-a-hub';
export const CARD = '---\nlicense: mit\n---\n\n# a\n';

/** A folder that can be pushed, with two large files. */
export function bundle(folder?: string): string {
  const made = promotable('a', folder);
  writeFileSync(join(made, 'README.md'), CARD);
  writeFileSync(join(made, 'model.safetensors'), Buffer.alloc(300_000, 'weights '));
  return made;
}

/** A hub, and this process as its account. */
export async function hubFor(account: { mayRead?: string[]; mayWrite: string[] } = { mayWrite: ['acme'] }) {
  const hub = await startHub();
  hub.tokens.set(TOKEN, { mayRead: [], ...account });
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_TOKEN', TOKEN);
  vi.stubEnv('HF_HUB_OFFLINE', '');
  const log: string[] = [];
  const pushed = (folder: string, options: Partial<PushOptions> = {}, signal = new AbortController().signal) =>
    push(folder, { repo: 'acme/spam', ...options }, { signal, log: (line) => log.push(line), onBytes() {} });
  const head = (revision = 'main') => {
    const { refs, commits } = hub.repositories.get('acme/spam')!;
    return commits[refs[revision]!]!;
  };
  /** The bytes of large files that arrived, by hash. */
  const arrived = (file: string) =>
    hub.requests.filter(({ url }) => url.startsWith(`/${sha256(readFileSync(file))}`)).reduce((sum, { received = 0 }) => sum + received, 0);
  return { hub, log, pushed, head, arrived, commits: () => Object.keys(hub.repositories.get('acme/spam')!.commits).length };
}
