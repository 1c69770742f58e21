/** A project with one cell, and a disk without space for the bytes of its result. */
import type { Project } from './rig.ts';

export const ONE = `steps:
  a: { run: "cat in.txt > \${{ outputs.o }}", inputs: { data: in.txt }, outputs: { o: out/o.txt } }
`;

export const FILES = { 'p.yaml': ONE, 'in.txt': 'some text\n' };

/** A disk without space for the bytes of a result, where they are stored and where they are restored. */
export function fullDisk(p: Project): void {
  p.write(
    'full.mjs',
    `import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
for (const name of ['openSync', 'writeFileSync']) {
  const real = fs[name];
  fs[name] = (path, ...rest) => {
    if (!/\\.tunesmith-/.test(path) || rest[0] === 'r') return real(path, ...rest);
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
  };
}
syncBuiltinESMExports();
`,
  );
  p.env.NODE_OPTIONS = `--import=file://${p.path('full.mjs')}`;
}

export const steady = (screen: string) =>
  screen.replace(/[\d.]+ (GB|MB|KB|kB|B|bytes)/g, '<size>').replace(/kept\/[\dT-]+/, 'kept/<moment>');
