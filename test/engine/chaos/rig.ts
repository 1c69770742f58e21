/** Shared code of the fault tests: a small pipeline with one of everything, and the checks after a run. */
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Files, type Project, project } from '../../rig.ts';

/** A matrix, folders with a link, an executable file, a retry, a step in a Node process. */
export const PIPELINE = `
name: p
steps:
  words:
    run: sort \${{ inputs.words }} > \${{ outputs.list }}
    inputs: { words: words/*.txt }
    outputs: { list: out/words.txt }
  pages:
    matrix: { letter: [a, b] }
    run:
      - mkdir -p \${{ outputs.pages }}/deep/empty
      - for n in 1 2 3; do (echo \${{ matrix.letter }} $n; cat \${{ steps.words.list }}) > \${{ outputs.pages }}/deep/$n.txt; sleep 0.02; done
      - ln -s deep/1.txt \${{ outputs.pages }}/first
    outputs: { pages: "out/pages \${{ matrix.letter }}" }
  flaky:
    run:
      - echo half > \${{ outputs.tool }}; if mkdir tried; then exit 1; fi
      - (echo '#!/bin/sh'; cat \${{ steps.words.list }}) > \${{ outputs.tool }}; chmod +x \${{ outputs.tool }}; rmdir tried
    retry: 3
    outputs: { tool: out/tool }
  count:
    uses: ./count.mjs
    with: { pages: "\${{ steps.pages[*].pages }}" }
  all:
    run: cat \${{ steps.count.counted }}/*/*.txt \${{ steps.flaky.tool }} > \${{ outputs.all }}
    outputs: { all: out/all.txt }
`;

export const FILES: Files = {
  'package.json': '{}',
  'p.yaml': PIPELINE,
  'words/one.txt': 'pear\napple\n',
  'words/two.txt': 'fig\n',
  'count.mjs': `import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
export default {
  name: 'count', version: 1, inputs: { pages: { kind: 'folder', many: true } }, outputs: { counted: 'folder' },
  async run({ inputs, outputs }) {
    inputs.pages.forEach((folder, n) => {
      cpSync(join(folder, 'deep'), join(outputs.counted, String(n)), { recursive: true });
      writeFileSync(join(outputs.counted, String(n), 'big.bin'), Buffer.alloc(5 << 20, 'big'));
    });
  },
};`,
};

/** A short pipeline: a file, and a folder made from it. */
export const SMALL: Files = {
  'package.json': '{}',
  'in.txt': 'first\n',
  'p.yaml': `
name: p
steps:
  file: { run: "cat \${{ inputs.data }} > \${{ outputs.o }}", inputs: { data: in.txt }, outputs: { o: out/file.txt } }
  folder: { run: "mkdir -p \${{ outputs.o }}/deep; cp \${{ steps.file.o }} \${{ outputs.o }}/deep; ln -s deep \${{ outputs.o }}/link", outputs: { o: out/folder } }
`,
};

export type { Project };
/** A new project with that pipeline. */
export const faulty = (files: Files = FILES): Project => project(files);

/** The visible results of a run: every output with kind, mode and bytes, and the lockfile. */
export function tree(p: Project): Record<string, string> {
  const names = [...p.find('out', { all: true }), ...p.find('.tunesmith/outputs', { all: true }), 'p.lock'];
  return Object.fromEntries(names.map((name) => [name, described(p.path(name))]));
}

function described(path: string): string {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return 'nothing';
  if (stat.isSymbolicLink()) return `link to ${readlinkSync(path)}`;
  if (stat.isDirectory()) return 'folder';
  return `${stat.mode & 0o100 ? 'program' : 'file'} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`;
}

/** The environment variables that cause the fault at that instant (plug.mjs). */
export function plug(what: 'kill' | 'power' | 'full', at: number): Record<string, string> {
  return { NODE_OPTIONS: `--import=${PLUG}`, PLUG: what, PLUG_AT: String(at) };
}

export const unplugged = { NODE_OPTIONS: undefined, PLUG: undefined, PLUG_AT: undefined, PLUG_COUNT: undefined };

/** The number of instants of `run` in the current state of the project. Runs it. */
export async function instants(p: Project): Promise<number> {
  const file = join(p.folder, 'instants');
  Object.assign(p.env, { NODE_OPTIONS: `--import=${PLUG}`, PLUG: 'count', PLUG_COUNT: file });
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  Object.assign(p.env, unplugged);
  if (code !== 0) throw new Error(screen);
  return Number(readFileSync(file, 'utf8'));
}

const PLUG = pathToFileURL(join(import.meta.dirname, 'plug.mjs')).href;
