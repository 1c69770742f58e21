/** What the commands of images share: where the bundle is, and how tunesmith is started. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const CLI_FILE = fileURLToPath(new URL('../../../engine/cli.js', import.meta.url));

/** The bundle that a platform has put into a folder, possibly in a folder below it; otherwise the one of the image. */
export function bundleOf(folder: string | undefined): string {
  return (folder === undefined ? undefined : bundleBelow(folder, 2)) ?? path.resolve('bundle');
}

function bundleBelow(folder: string, levels: number): string | undefined {
  if (!existsSync(folder)) return undefined;
  if (existsSync(path.join(folder, 'config.json'))) return folder;
  if (levels === 0) return undefined;
  const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of below.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const found = bundleBelow(path.join(folder, name), levels - 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `tunesmith serve` in this process, so that it gets the signals of the platform. */
export async function serveBundle(bundle: string, api: string, port: string): Promise<void> {
  process.argv.splice(2, Number.POSITIVE_INFINITY, 'serve', bundle, '--api', api, '--host', '0.0.0.0', '--port', port);
  await import(pathToFileURL(CLI_FILE).href);
}
