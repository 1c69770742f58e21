/** The targets of `deploy`, and how their folders are made. */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Bundle, openBundle } from '../../ml/answering/bundle.ts';
import { isGenerating } from '../../ml/models/config.ts';
import { maskToken, openTokenizer } from '../../ml/models/tokenizer.ts';
import { taskKind } from '../../ml/tasks/registry.ts';
import { azureml } from './azureml.ts';
import { fastapi } from './fastapi.ts';
import { http } from './http.ts';
import { writePackage } from './package.ts';
import { sagemaker } from './sagemaker.ts';
import type { ServedBundle, Target } from './target.ts';
import { vertex } from './vertex.ts';

const TARGETS = { http, sagemaker, vertex, azureml, fastapi } satisfies Record<string, Target>;

export type TargetName = 'bundle' | 'hub' | keyof typeof TARGETS;

const isBundle = (target: TargetName): target is 'bundle' | 'hub' => target === 'bundle' || target === 'hub';

/** Where the bundle itself lies in the output. */
export const bundleIn = (output: string, target: TargetName): string => (isBundle(target) ? output : path.join(output, 'bundle'));

/** Adds what the target needs beside a finished bundle. @throws StepError if the target cannot serve it */
export async function writeTarget(output: string, name: TargetName): Promise<void> {
  if (isBundle(name)) return;
  const target: Target = TARGETS[name];
  const folder = bundleIn(output, name);
  const bundle = await openBundle(folder);
  target.check?.(bundle);
  const served: ServedBundle = {
    title: bundle.name,
    name: containerName(bundle.name),
    bundle,
    memory: await memoryOf(folder),
    records: await recordsOf(bundle),
    packed: target.contents ? await writePackage(output, target.contents) : '',
  };
  for (const [file, content] of Object.entries(await target.files(served))) {
    await mkdir(path.dirname(path.join(output, file)), { recursive: true });
    await writeFile(path.join(output, file), content);
  }
}

/** A DNS label, as Kubernetes wants it. It is also a valid name on the other platforms. */
function containerName(title: string): string {
  const plain = title
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replaceAll(/^-+|-+$/g, '');
  return /^[a-z]/.test(plain) ? plain : `model-${plain}`.replace(/-$/, '');
}

/**
 * MiB for a server: Node and its libraries, the requests that it may hold at once (six of the largest took 650 MiB), and the weights
 * several times, because they are read, optimized and used.
 */
async function memoryOf(folder: string): Promise<number> {
  const { size } = await stat(path.join(folder, 'model.safetensors'));
  return 256 * Math.ceil((1024 + (4 * size) / 2 ** 20) / 256);
}

/** Two records that the model can read. */
async function recordsOf({ task, fields, folder }: Bundle): Promise<unknown[]> {
  if (isGenerating(task)) return ['Once upon a time', 'The'];
  const required = fields.filter(({ optional }) => !optional);
  const mask = taskKind(task).masks && (await maskToken(folder, await openTokenizer(folder, {})))?.token;
  const texts = mask ? [`A ${mask} text.`, `Another ${mask}.`] : ['A text.', 'Another text.'];
  if (required.length === 1) return texts;
  return texts.map((text) => Object.fromEntries(required.map(({ name, group }) => [name, group ? null : text])));
}
