/**
 * A Dockerfile without Docker: its COPY lines copy, its RUN lines run in a shell, and its command is started, all of it in an empty
 * folder and, where the tests run as root, by an unprivileged user. Absolute paths begin in the folder of a stage, and what the base
 * image has comes from this machine.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';

export interface Image {
  /** The folder in which its command runs. */
  workdir: string;
  environment: Record<string, string>;
  entryPoint: string[];
  command: string[];
  health: string[];
  /** The instructions of the last stage. */
  final: Instruction[];
  /** Starts the command, or another one in its place, as `docker run IMAGE WORDS…` does. */
  start(options?: { words?: string[]; env?: Record<string, string> }): Started;
  /** From now on its command can write nothing but the folder that is returned, which is its /tmp. */
  makeReadOnly(): string;
  /** Runs its health check. */
  isHealthy(): boolean;
  remove(): void;
}

export interface Started {
  child: ChildProcess;
  output(): string;
  /** The exit code. */
  ended: Promise<number>;
}

export interface Instruction {
  name: string;
  rest: string;
}

interface Stage {
  folder: string;
  workdir: string;
  environment: Record<string, string>;
}

/** @param map changes the words of commands: a base image may have them elsewhere */
export function buildImage(context: string, map: (words: string[]) => string[] = (words) => words): Image {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-image-')));
  chmodSync(base, 0o777);
  const ignored = ignoredBy(context);
  const stages = new Map<string, Stage>();
  const image = { entryPoint: [] as string[], command: [] as string[], health: [] as string[] };
  let final: Instruction[] = [];
  let stage: Stage | undefined;
  for (const instruction of instructionsOf(readFileSync(join(context, 'Dockerfile'), 'utf8'))) {
    const { name, rest } = instruction;
    final.push(instruction);
    if (name === 'FROM') {
      const folder = join(base, `stage${stages.size}`);
      mkdirSync(folder);
      stage = { folder, workdir: folder, environment: {} };
      stages.set(/ AS (\S+)$/i.exec(rest)?.[1] ?? String(stages.size), stage);
      final = [instruction];
    } else if (name === 'WORKDIR') {
      stage!.workdir = join(stage!.folder, rest);
      mkdirSync(stage!.workdir, { recursive: true });
    } else if (name === 'ENV')
      for (const [, key, value] of rest.matchAll(/(\w+)=("[^"]*"|\S+)/g))
        stage!.environment[key!] = within(stage!, value!.replaceAll('"', ''));
    else if (name === 'COPY') copy(rest, stage!, { context, stages, ignored });
    else if (name === 'RUN') {
      // Never those of this machine.
      const command = rest.replaceAll(' /', ` ${stage!.folder}/`);
      execFileSync('sh', ['-c', command], { ...asNobody(stage!, base), cwd: stage!.workdir, stdio: 'pipe' });
    } else if (name === 'ENTRYPOINT') image.entryPoint = JSON.parse(rest);
    else if (name === 'CMD') image.command = JSON.parse(rest);
    else if (name === 'HEALTHCHECK') image.health = JSON.parse(rest.slice(rest.indexOf('CMD ') + 4));
  }
  const { workdir, environment } = stage!;
  const run = (words: string[], env: Record<string, string>) => {
    const [program, ...others] = map(words);
    return {
      program: program!,
      others,
      options: { ...asNobody({ ...stage!, environment: { ...environment, ...env } }, base), cwd: workdir },
    };
  };
  return {
    ...image,
    workdir,
    environment,
    final,
    start({ words = image.command, env = {} } = {}) {
      const { program, others, options } = run([...image.entryPoint, ...words], env);
      const child = spawn(program, others, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text) => {
          output += text;
        });
      return {
        child,
        output: () => output,
        ended: new Promise((resolve, reject) => {
          child.on('error', reject);
          child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143)));
        }),
      };
    },
    isHealthy() {
      const { program, others, options } = run(image.health, {});
      try {
        execFileSync(program, others, { ...options, stdio: 'pipe' });
        return true;
      } catch {
        return false;
      }
    },
    makeReadOnly() {
      const writable = join(base, 'tmp');
      mkdirSync(writable);
      const root = process.getuid?.() === 0;
      if (root) execFileSync('chown', ['-R', '0:0', base]);
      execFileSync('chmod', ['-R', 'a-w', base]);
      execFileSync('chmod', ['a+rwx', writable]);
      Object.assign(environment, { HOME: writable, TMPDIR: writable });
      return writable;
    },
    remove() {
      // Folders that are read-only keep their files.
      execFileSync('chmod', ['-R', 'u+w', base]);
      rmSync(base, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** Lines that end with a backslash continue; comments are left out. */
export function instructionsOf(text: string): Instruction[] {
  const lines = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n\s*/g, '');
  return [...lines.matchAll(/^([A-Z]+)\s+(.*)$/gm)].map(([, name, rest]) => ({ name: name!, rest: rest! }));
}

/** A path of the image, if it is one. */
const within = ({ folder }: Stage, value: string): string =>
  value.startsWith('/') && existsSync(join(folder, value)) ? join(folder, value) : value;

function copy(
  rest: string,
  to: Stage,
  { context, stages, ignored }: { context: string; stages: Map<string, Stage>; ignored: (name: string) => boolean },
): void {
  const words = rest.split(' ').filter((word) => !word.startsWith('--chown'));
  const from = words[0]!.startsWith('--from=') ? stages.get(words.shift()!.slice('--from='.length))! : undefined;
  const target = words.pop()!;
  const into = target.startsWith('/') ? join(to.folder, target) : join(to.workdir, target);
  for (const source of words) {
    const path = from ? join(from.folder, source) : join(context, source);
    // The base image has it, such as /usr/local/bin/node.
    if (from && !existsSync(path)) continue;
    if (!from && ignored(source)) throw new Error(`.dockerignore leaves out ${source}, which the Dockerfile copies`);
    cpSync(path, target.endsWith('/') ? join(into, basename(source)) : into, { recursive: true, verbatimSymlinks: true });
  }
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', '65534:65534', to.folder]);
}

/** The last pattern that matches decides. */
function ignoredBy(context: string): (name: string) => boolean {
  const patterns = readFileSync(join(context, '.dockerignore'), 'utf8').trim().split('\n');
  return (name) => {
    let ignored = false;
    for (const pattern of patterns) if (pattern === '*' || pattern.replace('!', '') === name) ignored = !pattern.startsWith('!');
    return ignored;
  };
}

/** Only what an image sets; npm is this machine's, with its registry. */
function asNobody({ environment }: Stage, base: string) {
  const root = process.getuid?.() === 0;
  const registry = Object.fromEntries(
    Object.entries(process.env).filter(([name]) =>
      /^(npm_config_(registry|userconfig)|PIP_\w+|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS)$/.test(name),
    ),
  );
  const env = { ...registry, HOME: base, ...environment, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
  return root ? { env, uid: 65534, gid: 65534 } : { env };
}
