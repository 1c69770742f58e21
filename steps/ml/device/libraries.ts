/** The checks of `tunesmith doctor`: the libraries for data and tensors, GPUs, and the runtime that `auto` chooses. */

import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cudaLibraries, hasNvidiaDriver, installedTensorflow, tryTensorflow } from '../runtime/tensorflow/setup.ts';
import { knownChoice } from './open.ts';

export interface Check {
  name: string;
  state: 'ok' | 'missing' | 'broken';
  detail: string;
  /** Some pipelines cannot run without it. */
  needed: boolean;
  /** The command that helps. */
  next?: string;
}

export async function checkLibraries(): Promise<Check[]> {
  const [libraries, tensorflow, gpu] = await Promise.all([Promise.all(LIBRARIES.map(checkLibrary)), checkTensorflow(), checkGpu()]);
  const onnx = libraries.find(({ name }) => name === 'onnxruntime-node')!;
  return [...libraries, ...tensorflow, gpu, onnx.state === 'ok' ? checkChoice() : { ...RUNTIME, state: 'broken', detail: NO_ONNX }];
}

const RUNTIME = { name: 'runtime: auto', needed: true };
const NO_ONNX = 'onnx, which cannot be loaded';

/** What `auto` chooses, and why. */
function checkChoice(): Check {
  const threads = availableParallelism();
  const choice = knownChoice({ threads, device: 'auto', precision: 'fp32' });
  if (!choice)
    return { ...RUNTIME, state: 'ok', detail: `onnx or tensorflow: the first training with ${threads} threads measures which is faster` };
  const where = choice.name === 'onnx' ? `on the CPU with ${threads} threads` : 'on the GPU, or on the CPU if there is none';
  return { ...RUNTIME, state: 'ok', detail: `${choice.name}, ${where}: ${choice.why}` };
}

interface Library {
  name: string;
  what: string;
  /** Prints its version after a minimal computation. */
  script: string;
}

const versionOf = (name: string) => `(await import('node:module')).createRequire(process.cwd() + '/_').resolve('${name}/package.json')`;
const printVersion = (name: string) =>
  `console.log(JSON.parse((await import('node:fs')).readFileSync(${versionOf(name)}, 'utf8')).version)`;

const LIBRARIES: Library[] = [
  {
    name: '@duckdb/node-api',
    what: 'tables: collect, clean, split',
    script: `const duckdb = await import('@duckdb/node-api');
      const connection = await (await duckdb.DuckDBInstance.create(':memory:')).connect();
      await connection.run('select 1');
      console.log(duckdb.version());`,
  },
  {
    name: 'tokenizers',
    what: 'tokenize, predict, serve',
    script: `await import('tokenizers'); ${printVersion('tokenizers')}`,
  },
  {
    name: 'onnxruntime-node',
    what: 'train, evaluate, predict, serve',
    script: `const { listSupportedBackends } = (await import('onnxruntime-node')).default;
      if (!listSupportedBackends().length) throw new Error('it has no backend');
      ${printVersion('onnxruntime-node')}`,
  },
  {
    name: '@tensorflow/tfjs',
    what: 'tracing, and the runtime eager',
    script: `const log = console.log; console.log = console.warn = () => {};
      const tf = await import('@tensorflow/tfjs'); log(tf.version.tfjs);`,
  },
];

/** Runs in a process of its own, because a native library that crashes must not crash the doctor. */
async function checkLibrary({ name, what, script }: Library): Promise<Check> {
  const { code, output } = await run(process.execPath, ['--input-type=module', '-e', script]);
  const check = { name, needed: true };
  if (code === 0) return { ...check, state: 'ok', detail: `${output.trim().split('\n').at(-1)} (${what})` };
  if (output.includes(`Cannot find package '${name}'`)) return { ...check, state: 'missing', detail: what, next: 'npm install' };
  return { ...check, state: 'broken', detail: reason(output), next: `npm rebuild ${name}` };
}

/** TensorFlow, and what its GPU build needs. */
async function checkTensorflow(): Promise<Check[]> {
  const check = { name: 'TensorFlow', needed: false };
  const there = installedTensorflow();
  const driver = hasNvidiaDriver();
  const forGpu = 'tunesmith setup tensorflow --gpu';
  if (!there) {
    const detail = 'not set up: the runtime tensorflow is unavailable, and eager uses the slow cpu backend';
    return [{ ...check, state: 'missing', detail, next: driver ? forGpu : 'tunesmith setup tensorflow' }];
  }
  const tried = await tryTensorflow();
  const version = `${there.tensorflow} (${there.build})`;
  const next = there.build === 'cuda' ? forGpu : 'tunesmith setup tensorflow';
  if ('wrong' in tried) return [{ ...check, state: 'broken', detail: `${version}: ${reason(tried.wrong)}`, next }];
  const detail = `${version}, for the runtimes tensorflow and eager; it runs on the ${tried.device}`;
  const blind = there.build === 'cuda' && driver && tried.device === 'CPU';
  const why = 'although a GPU driver is installed: CUDA 12 needs driver 525 or newer';
  const tensorflow: Check = blind
    ? { ...check, state: 'broken', detail: `${detail} ${why}`, next: 'nvidia-smi' }
    : { ...check, state: 'ok', detail };
  const cuda = { name: 'CUDA and cuDNN', needed: false };
  const missesCuda = (what: string): Check => ({ ...cuda, state: 'missing', detail: what, next: forGpu });
  if (there.build !== 'cuda') return driver ? [tensorflow, missesCuda('the CPU build of TensorFlow is set up')] : [tensorflow];
  const { found, missing } = cudaLibraries();
  if (missing.length > 0) return [tensorflow, missesCuda(`${missing.join(', ')} (found: ${found.join(', ')})`)];
  return [tensorflow, { ...cuda, state: 'ok', detail: found.join(', ') }];
}

/** TensorFlow's build does not support older cards. */
const LEAST_CAPABILITY = 6;

async function checkGpu(): Promise<Check> {
  const check = { name: 'GPU', needed: false };
  const gpus = await nvidiaGpus();
  if (gpus === undefined) return { ...check, state: 'missing', detail: 'no NVIDIA driver; training runs on the CPU' };
  if (typeof gpus === 'string') return { ...check, state: 'broken', detail: reason(gpus) };
  const detail = gpus
    .map(({ name, memory, driver, capability }) => `${name}, ${memory}, driver ${driver}, compute capability ${capability}`)
    .join('; ');
  if (gpus.every(({ capability }) => Number(capability) < LEAST_CAPABILITY))
    return { ...check, state: 'broken', detail: `${detail}: TensorFlow needs at least ${LEAST_CAPABILITY}.0` };
  return { ...check, state: 'ok', detail };
}

interface Gpu {
  name: string;
  memory: string;
  driver: string;
  /** Compute capability: "9.0". */
  capability: string;
}

/** The GPUs, or nvidia-smi's message if it lists none; undefined if there is no nvidia-smi. */
export async function nvidiaGpus(): Promise<Gpu[] | string | undefined> {
  const { code, output } = await run('nvidia-smi', ['--query-gpu=name,memory.total,driver_version,compute_cap', '--format=csv,noheader']);
  if (code === 127) return undefined;
  const lines = output.split('\n').filter((line) => line.includes(','));
  if (code !== 0 || lines.length === 0) return output.trim() || 'nvidia-smi lists no GPU';
  return lines.map((line) => {
    const [name, memory, driver, capability] = line.split(',').map((part) => part.trim()) as [string, string, string, string];
    return { name, memory, driver, capability };
  });
}

function run(program: string, args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: HERE, timeout: 60_000 }, (error, stdout, stderr) => {
      if (!error) resolve({ code: 0, output: stdout });
      else if (error.code === 'ENOENT') resolve({ code: 127, output: `${program} was not found` });
      else resolve({ code: 1, output: `${stdout}${stderr}` || (error.signal ? `it was ended by signal ${error.signal}` : error.message) });
    });
  });
}

/** Where our own packages are resolved from. */
const HERE = dirname(fileURLToPath(import.meta.url));

/** The line of a stack trace that contains the message. */
function reason(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return (lines.find((line) => /^\s*(\w*Error|\w+ error)\b/.test(line)) ?? lines.at(-1) ?? 'it failed without a message').trim();
}
