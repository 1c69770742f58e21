/** One Node for all: tunesmith starts processes and threads with its own Node, whatever is on PATH. */
import { expect, test } from 'vitest';
import { project } from '../rig.ts';

test('steps, workers and declarations use the Node that runs the command, without one on PATH', async () => {
  const { version, execPath } = process;
  // CI runs these tests with the binary of another version and passes the expected version.
  expect(version).toContain(`v${process.env.EXPECTED_NODE ?? ''}`);
  const p = project({
    'p.yaml': `
steps:
  own: { uses: ./own.ts }
  collect: { uses: collect, with: { files: "\${{ steps.own.rows }}/rows.jsonl" } }
  shell: { run: "echo > \${{ outputs.o }}", outputs: { o: o.txt } }
`,
    'own.ts': `import { mkdirSync, writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { defineStep } from 'tunesmith';
if (process.execPath !== ${JSON.stringify(execPath)}) throw new Error(process.execPath);
export default defineStep({
  name: 'own',
  version: 1,
  outputs: { rows: 'folder' },
  async run({ outputs }) {
    const code = "require('node:worker_threads').parentPort.postMessage(process.version)";
    const inWorker = await new Promise((resolve) => new Worker(code, { eval: true }).once('message', resolve));
    mkdirSync(outputs.rows);
    writeFileSync(outputs.rows + '/rows.jsonl', JSON.stringify({ text: 'x', child: process.version, worker: inWorker, path: process.execPath }));
  },
});
`,
  });
  p.env.PATH = p.folder;
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code, screen).toBe(0);
  expect(JSON.parse(p.read('.tunesmith/outputs/p/own/rows/rows.jsonl'))).toEqual({
    text: 'x',
    child: version,
    worker: version,
    path: execPath,
  });
});
