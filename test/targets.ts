/** Folders of `deploy` for platforms, and a free port to serve them at. */
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deploy } from '../steps/deploy/deploy.ts';
import type { TargetName } from '../steps/deploy/targets/targets.ts';
import type { Started } from './image.ts';
import { silent } from './steps/rig.ts';

export async function deployFor(target: TargetName, model: string, name = 'Tiny mails', quantize?: 'int8' | 'fp16'): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), `tunesmith-${target}-`));
  await deploy({
    options: { target, name, license: 'mit', ...(quantize && { quantize }) },
    inputs: { model },
    outputs: { bundle: folder },
    threads: 1,
    ...silent,
  });
  return folder;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until a path is answered with 200. @throws if the server ends before */
export async function ready(url: string, { ended, output }: Started): Promise<void> {
  let code: number | undefined;
  ended.then((ended) => {
    code = ended;
  });
  for (;;) {
    if (code !== undefined) throw new Error(`the container ended with ${code}:\n${output()}`);
    const answer = await fetch(url).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The answer to JSON, or to another type. */
export async function post(
  url: string,
  body: unknown,
  { type = 'application/json', accept }: { type?: string; accept?: string } = {},
): Promise<{ status: number; type: string | null; text: string; json(): any }> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': type, ...(accept !== undefined && { accept }) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, type: answer.headers.get('content-type'), text, json: () => JSON.parse(text) };
}
