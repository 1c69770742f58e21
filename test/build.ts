/** Compiles dist/ once before the tests if a source is newer, because they drive the CLI as it is shipped. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

export default function build(): void {
  // Tests leave nothing in the user's cache folder.
  process.env.XDG_CACHE_HOME = join(root, 'node_modules/.cache/tests');
  const stamp = join(root, 'dist/.built');
  const built = existsSync(stamp) ? statSync(stamp).mtimeMs : 0;
  const sources = ['engine', 'cache', 'steps', 'pipelines'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(root, folder, name)),
  );
  sources.push(join(root, 'build.ts'), join(root, 'bundle.ts'));
  if (sources.every((file) => statSync(file).mtimeMs < built)) return;
  try {
    execFileSync(process.execPath, ['--import', 'tsx', 'build.ts'], { cwd: root, stdio: 'pipe' });
  } catch (error) {
    // Types are what `npm run check` is for; here it counts that something was compiled.
    if (!existsSync(join(root, 'dist/engine/cli.js'))) throw error;
  }
}
