/**
 * Resolves `runtime: auto`: `onnx` if TensorFlow is not set up; otherwise the faster of `tensorflow` and `onnx` in a
 * short training, which must end with the same loss on both. It is measured once per machine and kept in tunesmith's
 * own folder.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { nvidiaIdentity } from './gpu.ts';
import { type Measured, measure } from './measure.ts';
import { type Device, openRuntime, tensorflowIsSetUp } from './open.ts';
import type { Precision, Runtime } from './runtime.ts';
import { tensorflowFolder } from './tensorflow/folder.ts';
import { installedTensorflow } from './tensorflow/setup.ts';

export interface Wanted {
  threads: number;
  device: Device;
  precision: Precision;
}

type Compiled = 'onnx' | 'tensorflow';

export interface Choice {
  name: Compiled;
  why: string;
}

export async function chooseRuntime(wanted: Wanted): Promise<{ runtime: Runtime; why: string }> {
  const known = knownChoice(wanted);
  if (known) return { runtime: await openRuntime(known.name, wanted), why: known.why };
  const opened: Partial<Record<Compiled, Runtime>> = {};
  const failed: Error[] = [];
  for (const name of ['onnx', 'tensorflow'] as const) {
    try {
      opened[name] = await openRuntime(name, wanted);
    } catch (error) {
      failed.push(error as Error);
    }
  }
  const [only, other] = Object.values(opened);
  if (!only) throw failed.at(-1)!;
  if (!other) return { runtime: only, why: `the other runtime cannot be opened: ${failed[0]!.message}` };
  const measured = { onnx: await measure(opened.onnx!), tensorflow: await measure(opened.tensorflow!) };
  keep(wanted, measured);
  const { name, why } = decide(measured);
  return { runtime: opened[name]!, why };
}

/** What `auto` means without a measurement; undefined if one is needed first. */
export function knownChoice(wanted: Wanted): Choice | undefined {
  if (wanted.precision === 'bf16') return { name: 'tensorflow', why: 'only tensorflow supports bf16' };
  if (!tensorflowIsSetUp()) return { name: 'onnx', why: 'TensorFlow is not set up' };
  const measured = readKept()[keyOf(wanted)];
  return measured && decide(measured);
}

type Pair = Record<Compiled, Measured>;

/** onnx computes the reference loss, because its graph is the one that is deployed. */
function decide({ onnx, tensorflow }: Pair): Choice {
  const figures = `a step of a small model took ${onnx.milliseconds} ms on onnx, ${tensorflow.milliseconds} ms on tensorflow`;
  if (!(Math.abs(onnx.loss - tensorflow.loss) <= SAME_LOSS))
    return { name: 'onnx', why: `tensorflow ends with another loss on this machine: ${tensorflow.loss}, not ${onnx.loss}` };
  return { name: tensorflow.milliseconds < onnx.milliseconds ? 'tensorflow' : 'onnx', why: figures };
}

const SAME_LOSS = 1e-3;

/** Everything that the figures depend on. */
function keyOf({ threads, device }: Wanted): string {
  const onnx = (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version;
  const there = installedTensorflow();
  const tensorflow = `${there?.tensorflow} ${there?.build} ${there?.binding}`;
  return [
    `${cpus()[0]?.model} ${arch()}`,
    `${threads} threads`,
    `device ${device}`,
    `GPU ${nvidiaIdentity()}`,
    `onnxruntime ${onnx}`,
    `TensorFlow ${tensorflow}`,
  ].join(', ');
}

const keptFile = () => join(dirname(tensorflowFolder()), 'runtimes.json');

function readKept(): Record<string, Pair> {
  try {
    return JSON.parse(readFileSync(keptFile(), 'utf8'));
  } catch {
    return {};
  }
}

function keep(wanted: Wanted, measured: Pair): void {
  const file = keptFile();
  mkdirSync(dirname(file), { recursive: true });
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify({ ...readKept(), [keyOf(wanted)]: measured }, null, 2)}\n`);
  renameSync(partial, file);
}
