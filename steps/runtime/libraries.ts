/** What `tunesmith doctor` says of the libraries that data and tensors need, of GPUs, and of the runtime that `auto` takes. */
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installedTensorflow, tryTensorflow } from './tensorflow/setup.ts';

export interface Check {
  name: string;
  state: 'ok' | 'missing' | 'broken';
  detail: string;
  /** Without it some pipelines cannot run at all. */
  needed: boolean;
  /** The command that helps. */
  next?: string;
}

export async function checkLibraries(): Promise<Check[]> {
  const [libraries, tensorflow, gpu] = await Promise.all([Promise.all(LIBRARIES.map(checkLibrary)), checkTensorflow(), checkGpu()]);
  if (gpu.state === 'ok' && tensorflow.state === 'missing') tensorflow.next = 'tunesmith setup tensorflow --cuda';
  const onnx = libraries.find(({ name }) => name === 'onnxruntime-node')!;
  const runtime: Check = {
    name: 'runtime: auto',
    needed: true,
    ...(onnx.state === 'ok'
      ? { state: 'ok', detail: `onnx, on the CPU with ${availableParallelism()} threads: compiled, and everywhere npm reaches` }
      : { state: 'broken', detail: 'is onnx, which cannot be loaded' }),
  };
  return [...libraries, tensorflow, gpu, runtime];
}

interface Library {
  name: string;
  what: string;
  /** Prints its version after having done a little work. */
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

/** In a process of its own: a native library that crashes must not take the doctor with it. */
async function checkLibrary({ name, what, script }: Library): Promise<Check> {
  const { code, output } = await run(process.execPath, ['--input-type=module', '-e', script]);
  const check = { name, needed: true };
  if (code === 0) return { ...check, state: 'ok', detail: `${output.trim().split('\n').at(-1)} (${what})` };
  if (output.includes(`Cannot find package '${name}'`)) return { ...check, state: 'missing', detail: what, next: 'npm install' };
  return { ...check, state: 'broken', detail: reason(output), next: `npm rebuild ${name}` };
}

async function checkTensorflow(): Promise<Check> {
  const check = { name: 'TensorFlow', needed: false };
  const there = installedTensorflow();
  if (!there) {
    return {
      ...check,
      state: 'missing',
      detail: 'not set up; the runtime eager uses the slow cpu backend',
      next: 'tunesmith setup tensorflow',
    };
  }
  const wrong = await tryTensorflow();
  const version = `${there.tensorflow} (${there.build})`;
  const next = `tunesmith setup tensorflow${there.build === 'cuda' ? ' --cuda' : ''}`;
  if (wrong) return { ...check, state: 'broken', detail: `${version}: ${reason(wrong)}`, next };
  return { ...check, state: 'ok', detail: `${version}, for the runtime eager` };
}

async function checkGpu(): Promise<Check> {
  const check = { name: 'GPU', needed: false };
  const { code, output } = await run('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader']);
  if (code === 0 && output.trim()) return { ...check, state: 'ok', detail: output.trim().replace(/\n/g, '; ') };
  if (code === 127) return { ...check, state: 'missing', detail: 'no NVIDIA driver; training runs on the CPU' };
  return { ...check, state: 'broken', detail: reason(output) };
}

function run(program: string, args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: HERE, timeout: 60_000 }, (error, stdout, stderr) => {
      if (!error) resolve({ code: 0, output: stdout });
      else if (error.code === 'ENOENT') resolve({ code: 127, output: `${program} was not found` });
      else resolve({ code: 1, output: `${stdout}${stderr}` || (error.signal ? `it was ended by ${error.signal}` : error.message) });
    });
  });
}

/** Where our own packages are found from. */
const HERE = dirname(fileURLToPath(import.meta.url));

/** The line that says it, out of a stack trace. */
function reason(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return (lines.find((line) => /^\s*(\w*Error|\w+ error)\b/.test(line)) ?? lines.at(-1) ?? 'it failed without a word').trim();
}
