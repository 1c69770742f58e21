/** The servers that serve.ts compares, each in a process of its own, and the packages that they need. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { preparePython } from './python.ts';

export interface Contender {
  name: string;
  /** Where it answers. Default: /predict. */
  path?: string;
  /** The command that serves at this port. */
  command(port: number): { file: string; args: string[]; env?: NodeJS.ProcessEnv };
}

export interface RunningContender {
  name: string;
  url: string;
  /** From the start of the process to the first answer. */
  coldStartSeconds: number;
  /** The most memory that its processes had, each at its time. */
  peakMegabytes(): number;
  stop(): void;
}

const root = join(import.meta.dirname, '..');

export const ours = (name: string, bundle: string): Contender => ({
  name,
  command: (port) => ({ file: process.execPath, args: [join(root, 'dist/engine/cli.js'), 'serve', bundle, '--port', String(port)] }),
});

/** FastAPI with torch, and transformers.js. `tools`: a folder for their packages, which may be used again. */
export function peers(bundle: string, tools: string): Contender[] {
  const python = preparePython();
  const packages = join(tools, 'python');
  if (!existsSync(packages)) installPython(python, packages);
  installNode(tools);
  const script = join(tools, 'serve-transformers.mjs');
  cpSync(join(import.meta.dirname, 'serve-transformers.mjs'), script);
  return [
    {
      name: 'FastAPI + torch',
      command: (port) => ({
        file: python,
        args: [join(import.meta.dirname, 'serve-fastapi.py'), bundle, String(port)],
        env: { PYTHONPATH: packages, HF_HUB_OFFLINE: '1', TQDM_DISABLE: '1' },
      }),
    },
    { name: 'transformers.js', command: (port) => ({ file: process.execPath, args: [script, bundle, String(port)] }) },
  ];
}

function installPython(python: string, folder: string): void {
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', folder];
  install('PyPI', python, [...pip, ...PYTHON_PACKAGES]);
}

const PYTHON_PACKAGES = ['fastapi==0.165.0', 'uvicorn==0.54.0'];

/** Also autocannon, which makes the load. */
export function installNode(tools: string): void {
  if (existsSync(join(tools, 'node_modules/autocannon'))) return;
  mkdirSync(tools, { recursive: true });
  writeFileSync(join(tools, 'package.json'), '{"private":true}');
  // onnxruntime-node would download libraries for CUDA.
  install('the npm registry', 'npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', tools, ...NODE_PACKAGES], {
    ONNXRUNTIME_NODE_INSTALL: 'skip',
  });
}

const NODE_PACKAGES = ['autocannon@9.0.0', '@huggingface/transformers@4.3.2'];

function install(registry: string, file: string, args: string[], env: NodeJS.ProcessEnv = {}): void {
  try {
    execFileSync(file, args, { stdio: 'pipe', env: { ...process.env, ...env } });
  } catch (error) {
    console.error((error as { stderr?: Buffer }).stderr?.toString());
    console.error(`The benchmark could not install its packages: ${registry} does not answer, or a package is missing there.`);
    console.error('Try again with a network, or measure only our server: npm run bench:serve -- --only ours');
    process.exit(1);
  }
}

export async function start({ name, path = '/predict', command }: Contender, body: string): Promise<RunningContender> {
  const port = await freePort();
  const { file, args, env } = command(port);
  const begun = performance.now();
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } });
  const url = `http://127.0.0.1:${port}${path}`;
  try {
    await firstAnswer(name, child, url, body);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    name,
    url,
    coldStartSeconds: (performance.now() - begun) / 1000,
    peakMegabytes: () => processTree(child.pid!).reduce((sum, pid) => sum + peakMegabytes(pid), 0),
    stop: () => void child.kill('SIGKILL'),
  };
}

async function firstAnswer(name: string, child: ChildProcess, url: string, body: string): Promise<void> {
  while (child.exitCode === null) {
    try {
      const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      const text = await response.text();
      if (response.ok) return;
      throw new Error(`${name} answers ${response.status}: ${text}`);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it does not listen yet
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  throw new Error(`${name} ended with ${child.exitCode}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

function processTree(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  const children = readdirSync(tasks).flatMap((task) => readFileSync(`${tasks}/${task}/children`, 'utf8').split(' ').filter(Boolean));
  return [pid, ...children.map(Number).flatMap(processTree)];
}

const peakMegabytes = (pid: number): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
