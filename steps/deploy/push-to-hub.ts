/** `target: hub`: pushes the finished bundle, and records in it what was pushed. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PUSH_RECORD } from '../ml/hub/local-files.ts';
import { type PushOptions, push } from '../ml/hub/push.ts';
import type { DeployContext } from './quantized.ts';

export async function pushToHub(bundle: string, hub: PushOptions, { signal, log, progress, result }: DeployContext): Promise<void> {
  const megabytes = (bytes: number) => Math.round(bytes / 1e5) / 10;
  const onBytes = (done: number, total: number) => progress(megabytes(done), megabytes(total), { 'MB to': hub.repo });
  const { pushed, changed, others } = await push(bundle, hub, { signal, log, onBytes });
  await writeFile(path.join(bundle, PUSH_RECORD), `${JSON.stringify(pushed, null, 2)}\n`);
  if (others.length > 0) log(`${pushed.repo} also has files that the bundle does not have, which stay: ${others.join(', ')}`);
  const commit = `commit ${pushed.revision.slice(0, 7)}${pushed.tag === null ? '' : `, tag ${pushed.tag}`}`;
  result(`${pushed.repo}: ${changed ? `pushed as ${commit}` : `unchanged, ${commit}`}; ${pushed.url}`);
}
