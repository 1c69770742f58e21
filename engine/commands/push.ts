/** `tunesmith push BUNDLE OWNER/NAME`: uploads a bundle to a model repository on the hub. */

import { constants } from 'node:os';
import { pushing } from '../../steps/registry.ts';
import { usage } from '../contract/errors.ts';
import { printable, printableJson, printLines } from '../format/terminal-text.ts';
import { bytes, count } from '../format/text.ts';
import { interruptions } from './exit-code.ts';
import { modelFolder, percentage, say } from './model.ts';

interface PushFlags {
  private?: boolean;
  branch?: string;
  tag?: string;
  message?: string;
  deleteOthers?: boolean;
  json?: boolean;
}

type Outcome = Awaited<ReturnType<Awaited<ReturnType<typeof pushing>>['pushBundle']>>;

export default async function push(bundle: string, repo: string, { deleteOthers, json = false, ...options }: PushFlags): Promise<number> {
  const { nameProblem, pushBundle } = await pushing();
  const problem = nameProblem({ repo, ...options });
  if (problem) throw usage(problem.message, problem.hint ?? 'tunesmith push BUNDLE OWNER/NAME');
  const interrupted = interruptions(() => say('stopping…'));
  try {
    const progress = { signal: interrupted.signal, log: (line: string) => say(printable(line)), onBytes: percentage() };
    const outcome = await pushBundle(await modelFolder(bundle), { repo, ...options, delete_others: deleteOthers }, progress);
    printLines(json ? [printableJson({ ...outcome.pushed, changed: outcome.changed })] : linesOf(outcome).map(printable));
    return 0;
  } catch (error) {
    if (!interrupted.by) throw error;
    say('interrupted; run the same command again to go on');
    return 128 + constants.signals[interrupted.by];
  } finally {
    interrupted.release();
  }
}

function linesOf({ pushed, changed, sent, others }: Outcome): string[] {
  const { repo, branch, revision, tag, url } = pushed;
  const commit = `${repo}, branch ${branch}: commit ${revision.slice(0, 7)}${tag === null ? '' : `, tag ${tag}`}`;
  const kept = others.length > 5 ? `${others.slice(0, 5).join(', ')} and ${others.length - 5} more` : others.join(', ');
  return [
    changed
      ? `pushed ${count(sent.files, 'file')} to ${commit} (${bytes(sent.bytes)} of large files were sent)`
      : `${commit} has the same files already, so there is no new commit`,
    ...(others.length === 0 ? [] : [`kept files that the bundle does not have: ${kept}. --delete-others deletes them`]),
    url,
  ];
}
