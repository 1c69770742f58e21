/** The machine and the versions of a run, for `runs show` and `report`. */

import { bytes } from '../format/text.ts';
import type { RunDetails } from '../run/records.ts';

/** `commit`: as it is shown. */
export function environmentRows({ git, setting }: RunDetails, commit: string | undefined): [name: string, value: string][] {
  if (!setting) return [];
  const { machine, versions } = setting;
  const { tunesmith, node, ...packages } = versions;
  const cores = `${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}`;
  const ofPackages = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  return [
    ['commit', git ? `${commit}${git.dirty ? ' (with uncommitted changes)' : ''}` : 'not known'],
    ['machine', `${machine.cpu}, ${cores}, ${bytes(machine.memory)}, ${machine.system}`],
    ['versions', `tunesmith ${tunesmith}, Node ${node}`],
    ['packages', ofPackages.join(', ')],
  ];
}
