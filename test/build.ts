/** Compiles dist/ once before the tests, where a source is newer: they drive the CLI as it is shipped. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

export default function build(): void {
  const stamp = join(root, 'dist/.built');
  const built = existsSync(stamp) ? statSync(stamp).mtimeMs : 0;
  const started = new Date();
  const sources = ['engine', 'cache', 'steps', 'pipelines'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(root, folder, name)),
  );
  if (sources.every((file) => statSync(file).mtimeMs < built)) return;
  // Else the compiler takes what is missing in dist/ for written.
  rmSync(join(root, 'dist/.tsbuildinfo'), { force: true });
  try {
    for (const config of ['tsconfig.build.json', 'tsconfig.types.json'])
      execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config], { cwd: root, stdio: 'pipe' });
  } catch (error) {
    // Types are what `npm run check` is for; here it counts that something was compiled.
    if (!existsSync(join(root, 'dist/engine/cli.js'))) throw error;
  }
  chmodSync(join(root, 'dist/engine/cli.js'), 0o755);
  writeFileSync(stamp, '');
  utimesSync(stamp, started, started); // what was written meanwhile counts as newer
}
