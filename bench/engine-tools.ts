/** The tools that bench/engine.ts compares: how each is installed, configured with the same cells, and run. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** One command that reads files and writes one file. All tools run exactly the same commands. */
export interface Cell {
  name: string;
  command: string;
  reads: string[];
  writes: string;
  /** Cells whose outputs it reads. Its other inputs are files of the user. */
  after: string[];
}

/** `each`: the cells differ only in a number, so a tool with a matrix can declare them in a few lines. */
export interface Shape {
  cells: Cell[];
  each?: { count: number; command: string; reads: string; writes: string; join?: Cell };
}

export interface Tool {
  name: string;
  /** The program, installed if necessary. Throws if it is not available. */
  install(): void;
  /** Writes the tool's configuration once. */
  describe(folder: string, shape: Shape): void;
  run: string[];
  /** Prints what would run, without running it. */
  plan?: string[];
  env?: Record<string, string>;
  /** The tool's state, relative to the project, to delete for a clean start. */
  state: string[];
}

/** A folder outside of the project for the other tools and their projects. */
export const home = process.env.TUNESMITH_BENCH_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tunesmith-bench');
const python = join(home, 'python');
const node = join(home, 'node');
const root = join(import.meta.dirname, '..');

const ours: Tool = {
  name: 'tunesmith',
  install() {
    if (!existsSync(join(root, 'dist/engine/cli.js'))) throw new Error('npm run build comes first');
  },
  describe(folder, { cells, each }) {
    const step = ({ name, command, reads, writes, after }: Cell) =>
      `  ${name}: { run: ${JSON.stringify(command)}, inputs: { reads: ${JSON.stringify([...after.map((cell) => `\${{ steps.${cell}.o }}`), ...(after.length > 0 ? [] : reads)])} }, outputs: { o: ${writes} } }`;
    const number = (text: string) => text.replaceAll('%', '$' + '{{ matrix.n }}');
    const lines = each
      ? [
          `  leaf:`,
          `    matrix: { n: [${Array.from({ length: each.count }, (_, n) => n + 1).join(', ')}] }`,
          `    run: ${JSON.stringify(number(each.command))}`,
          `    inputs: { reads: ${JSON.stringify(number(each.reads))} }`,
          `    outputs: { o: ${JSON.stringify(number(each.writes))} }`,
          ...(each.join ? [step({ ...each.join, after: ['leaf[*]'] })] : []),
        ]
      : cells.map(step);
    writeFileSync(join(folder, 'p.yaml'), `name: p\nsteps:\n${lines.join('\n')}\n`);
  },
  run: [process.execPath, join(root, 'dist/engine/cli.js'), 'run', 'p.yaml', '-j', '2', '--plain'],
  plan: [process.execPath, join(root, 'dist/engine/cli.js'), 'status', 'p.yaml'],
  state: ['.tunesmith', 'p.lock'],
};

const ninja: Tool = {
  name: 'ninja',
  install: installPython,
  describe(folder, { cells }) {
    const builds = cells.map(
      ({ command, reads, writes }) => `build ${writes}: sh ${reads.join(' ')}\n  command_ = ${command.replaceAll('$', '$$')}\n`,
    );
    writeFileSync(join(folder, 'build.ninja'), `rule sh\n  command = $command_\n\n${builds.join('')}`);
  },
  run: [join(python, 'bin/ninja'), '-j', '2', '--quiet'],
  plan: [join(python, 'bin/ninja'), '-n', '--quiet'],
  state: ['.ninja_log', '.ninja_deps'],
};

const snakemake: Tool = {
  name: 'Snakemake',
  install: installPython,
  describe(folder, { cells, each }) {
    const list = (paths: string[]) => paths.map((path) => JSON.stringify(path)).join(', ');
    const rule = ({ name, reads, writes, command }: Pick<Cell, 'name' | 'reads' | 'writes' | 'command'>) =>
      `rule ${name}:\n    input: ${list(reads)}\n    output: ${list([writes])}\n    shell: ${JSON.stringify(command)}\n`;
    const numbered = (text: string, by: string) => text.replaceAll('%', by);
    const rules = each
      ? [
          rule({
            name: 'leaf',
            reads: [numbered(each.reads, '{n}')],
            writes: numbered(each.writes, '{n}'),
            command: numbered(each.command, '{wildcards.n}'),
          }),
          ...(each.join ? [rule(each.join)] : []),
        ]
      : cells.map(rule);
    const last = each && !each.join ? cells.map(({ writes }) => writes) : [cells.at(-1)!.writes];
    writeFileSync(join(folder, 'Snakefile'), `rule all:\n    input: ${list(last)}\n${rules.join('')}`);
  },
  run: [join(python, 'bin/snakemake'), '-j', '2', '--quiet', 'all'],
  plan: [join(python, 'bin/snakemake'), '-n', '--quiet', 'all'],
  state: ['.snakemake'],
};

const dvc: Tool = {
  name: 'DVC',
  install: installPython,
  describe(folder, { cells }) {
    const stages = Object.fromEntries(
      cells.map(({ name, command, reads, writes }) => [name, { cmd: command, deps: reads, outs: [writes] }]),
    );
    // JSON is valid YAML.
    writeFileSync(join(folder, 'dvc.yaml'), JSON.stringify({ stages }));
    mkdirSync(join(folder, '.dvc'), { recursive: true });
    writeFileSync(join(folder, '.dvc/config'), '[core]\n    no_scm = True\n    analytics = False\n    check_update = False\n');
  },
  run: [join(python, 'bin/dvc'), 'repro', '-q'],
  plan: [join(python, 'bin/dvc'), 'repro', '-q', '--dry'],
  state: ['.dvc/cache', '.dvc/tmp', 'dvc.lock'],
};

const turbo: Tool = {
  name: 'turbo',
  install: installNode,
  describe(folder, { cells }) {
    // An empty list of inputs would mean all files.
    const inputsOf = ({ after, reads }: Cell) => (after.length > 0 ? ['turbo.json'] : reads);
    const tasks = Object.fromEntries(
      cells.map((cell) => [cell.name, { dependsOn: cell.after, inputs: inputsOf(cell), outputs: [cell.writes] }]),
    );
    const last = cells.filter(({ name }) => !cells.some(({ after }) => after.includes(name)));
    writeFileSync(
      join(folder, 'turbo.json'),
      JSON.stringify({ tasks: { ...tasks, all: { dependsOn: last.map(({ name }) => name), inputs: ['turbo.json'], cache: false } } }),
    );
    const scripts = Object.fromEntries(cells.map(({ name, command }) => [name, command]));
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ name: 'race', packageManager: 'npm@10.0.0', scripts: { ...scripts, all: 'true' } }),
    );
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ name: 'race', lockfileVersion: 3, packages: {} }));
  },
  run: [join(node, 'node_modules/.bin/turbo'), 'run', 'all', '--concurrency=2', '--output-logs=none', '--ui=stream'],
  plan: [join(node, 'node_modules/.bin/turbo'), 'run', 'all', '--dry=json'],
  env: { TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' },
  state: ['.turbo', 'node_modules'],
};

const wireit: Tool = {
  name: 'wireit',
  install: installNode,
  describe(folder, { cells }) {
    const wireit = Object.fromEntries(
      cells.map(({ name, command, reads, writes, after }) => [
        name,
        { command, dependencies: after, files: after.length > 0 ? [] : reads, output: [writes] },
      ]),
    );
    const last = cells.filter(({ name }) => !cells.some(({ after }) => after.includes(name)));
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({
        name: 'race',
        scripts: Object.fromEntries([...cells.map(({ name }) => [name, 'wireit']), ['all', 'wireit']]),
        wireit: { ...wireit, all: { dependencies: last.map(({ name }) => name) } },
      }),
    );
  },
  run: ['npm', 'run', '--silent', 'all'],
  env: { WIREIT_PARALLEL: '2', WIREIT_LOGGER: 'simple', PATH: `${join(node, 'node_modules/.bin')}:${process.env.PATH}` },
  state: ['.wireit'],
};

export const tools = [ours, ninja, snakemake, wireit, turbo, dvc];

function installPython(): void {
  if (!existsSync(join(python, 'bin/python'))) execFileSync('python3', ['-m', 'venv', python], { stdio: 'ignore' });
  const packages = ['ninja==1.13.2', 'snakemake==9.27.1', 'dvc==3.67.1'];
  execFileSync(join(python, 'bin/python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages], {
    stdio: 'ignore',
  });
}

function installNode(): void {
  mkdirSync(node, { recursive: true });
  if (!existsSync(join(node, 'package.json'))) writeFileSync(join(node, 'package.json'), '{"private":true}');
  if (existsSync(join(node, 'node_modules/.bin/turbo')) && existsSync(join(node, 'node_modules/.bin/wireit'))) return;
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--silent', 'wireit@0.14.13', 'turbo@2.11.11'], {
    cwd: node,
    stdio: 'ignore',
  });
}
