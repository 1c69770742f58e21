/** Commands and trainings in a container with little memory. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { memoryKills, memoryLimit } from '../../../engine/contract/memory-limit.ts';
import { container } from '../../container.ts';
import { project, root } from '../../rig.ts';

const V2 = '0::/a.slice/b.scope\n';

const V1 = '9:name=systemd:/\n4:memory:/docker/abc\n0::/\n';

test.each<[string, Record<string, string>, number]>([
  ['no control groups', {}, totalmem()],
  ['version 2, its own limit', { groups: V2, 'a.slice/b.scope/memory.max': '700000000', 'a.slice/memory.max': 'max' }, 700e6],
  ["version 2, a parent's limit", { groups: V2, 'a.slice/b.scope/memory.max': 'max', 'a.slice/memory.max': '600000000' }, 600e6],
  ['version 2, the lowest counts', { groups: V2, 'a.slice/b.scope/memory.max': '700000000', 'a.slice/memory.max': '500000000' }, 500e6],
  ['version 2 in a container, whose group is the root', { groups: '0::/\n', 'memory.max': '400000000' }, 400e6],
  ['version 1, its own limit', { groups: V1, 'memory/docker/abc/memory.limit_in_bytes': '300000000' }, 300e6],
  ['version 1, named as its host sees it', { groups: V1, 'memory/memory.limit_in_bytes': '200000000' }, 200e6],
  ['version 1, no limit', { groups: V1, 'memory/docker/abc/memory.limit_in_bytes': '9223372036854771712' }, totalmem()],
  ['version 1 beside another controller', { groups: '4:cpu,memory:/x\n', 'memory/x/memory.limit_in_bytes': '100000000' }, 100e6],
  ['no memory at all is no limit', { groups: V2, 'a.slice/b.scope/memory.max': '0' }, totalmem()],
])('the limit: %s', (_, files, limit) => {
  expect(memoryLimit(system(files))).toBe(limit);
});

test("the kernel's count of kills is that of the own group", () => {
  const v2 = { groups: V2, 'a.slice/b.scope/memory.events': 'low 0\noom 3\noom_kill 2\n', 'a.slice/memory.events': 'oom_kill 9\n' };
  expect(memoryKills(system(v2))).toBe(2);
  expect(memoryKills(system({ groups: V1, 'memory/docker/abc/memory.oom_control': 'under_oom 0\noom_kill 4\n' }))).toBe(4);
  expect(memoryKills(system({}))).toBe(0);
});

/** A folder with /proc/self/cgroup, `groups`, and files of /sys/fs/cgroup. */
function system({ groups, ...files }: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const all = Object.entries(files).map(([name, text]) => [`sys/fs/cgroup/${name}`, text] as const);
  for (const [name, text] of groups === undefined ? all : [['proc/self/cgroup', groups] as const, ...all]) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const MEGABYTES = 300;

const group = container(MEGABYTES * 2 ** 20);

afterAll(() => group?.remove());

/** The command of the CLI, started inside the group. */
async function inside(p: ReturnType<typeof project>, ...args: string[]) {
  const started = p.start(...args);
  group!.add(started.pid);
  return started.done;
}

test.skipIf(!group)('a command that the kernel kills for memory (needs the right to make a cgroup): the limit is said', async () => {
  const p = project({
    'p.yaml': `
steps:
  whole: { run: 'node -e "Buffer.alloc(1e9, 1)"' }
  piece: { run: 'head -c 1G /dev/zero | tail -c 900M | wc -c > \${{ outputs.o }}', outputs: { o: piece.txt } }
  child: { run: 'node -e "Buffer.alloc(1e9, 1)" || exit 3' }
  asks: { run: "true", resources: { memory: 200MB } }
`,
  });
  const run = await inside(p, 'run', 'p.yaml', '--plain', '--on-failure', 'continue', '-j', '1');
  expect(run.code).toBe(1);
  expect(run.screen).toMatch(
    /whole: failed after .*: killed, out of memory: the kernel's out-of-memory killer stopped it \(the memory limit is 315 MB\)\n {2}Use less memory/,
  );
  expect(run.screen).toMatch(
    /child: failed after .*: exited with 3; the kernel killed a process because memory ran out \(the memory limit is 315 MB\)/,
  );
  // What is killed before the last command of a pipe does not fail the pipe.
  expect(run.screen).toMatch(
    /piece: the kernel killed a process because memory ran\s+out[\s\S]*?\.\s+If\s+the\s+process\s+belonged\s+to\s+piece,\s+its\s+outputs\s+may\s+be\s+incomplete/,
  );
  p.write('q.yaml', 'steps: { asks: { run: "echo", resources: { memory: 400MB } } }');
  expect((await inside(p, 'run', 'q.yaml', '--plain')).screen).toContain('asks for 0.4 GB of memory, but this machine has 0.3 GB');
  expect((await inside(p, 'doctor')).screen).toMatch(/of which this container may use 0\.3 GB/);
});

test.skipIf(!group)(
  'a training in a container (needs the right to make a cgroup) is refused before it begins, or says why it was killed',
  async () => {
    const model = join(root, 'pipelines/models/bert-tiny');
    const p = project({
      'rows.jsonl': Array.from({ length: 200 }, (_, n) => `{"text":"${`word${n} good bad `.repeat(40)}","label":"${n % 2}"}\n`).join(''),
      'p.yaml': `
params: { batch: 512 }
steps:
  collect: { uses: collect, with: { files: rows.jsonl } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.8, 0.1, 0.1] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: ${model}, max_length: 128 } }
  train:
    uses: train
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: ${model}, task: text-classification, batch_size: "\${{ params.batch }}", epochs: 1 }
`,
    });
    const made = await inside(p, 'run', 'p.yaml', '--plain', '--until', 'tokenize');
    expect(made.code).toBe(0);
    expect(made.screen).not.toMatch(/memory ran out|out of memory/);
    const refused = await inside(p, 'run', 'p.yaml', '--plain');
    expect(refused.screen).toMatch(/train: failed after .*: this training needs more memory than the 315 MB available/);
    const killed = await inside(p, 'run', 'p.yaml', '--plain', '-p', 'batch=96');
    expect(killed.screen).toMatch(/train: failed after .*: killed, out of memory: .* \(the memory limit is 315 MB\)/);
    expect(group!.kills()).toBeGreaterThan(0);
  },
);
