/** The names that a hub accepts for repositories, branches and tags. */
import type { OptionProblem } from '../../../engine/contract/step.ts';

/** The options of a push that are names. */
export interface PushNames {
  /** `owner/name`. */
  repo: string;
  branch?: string | undefined;
  tag?: string | undefined;
}

/** The first name that the hub would refuse. */
export function nameProblem({ repo, branch, tag }: PushNames): OptionProblem | undefined {
  const found = {
    repo: repositoryProblem(repo),
    branch: branch === undefined ? undefined : revisionProblem('branch', branch),
    tag: tag === undefined ? undefined : revisionProblem('tag', tag),
  };
  for (const [option, problem] of Object.entries(found)) if (problem) return { option, ...problem };
  return undefined;
}

type NameProblem = Omit<OptionProblem, 'option'>;

function repositoryProblem(given: string): NameProblem | undefined {
  const plain = given
    .replace(/^(hf:\/\/|https?:\/\/[^/]+\/)/, '')
    .replace(/^(models|datasets|spaces)\//, '')
    .replace(/\/+$/, '');
  const hint = plain !== given && isRepository(plain) ? `Write ${plain}` : 'Write the owner and a name, such as acme/spam-filter.';
  if (/^(hf:\/\/|https?:\/\/[^/]+\/)?(datasets|spaces)\//.test(given))
    return { message: `${given} is not a repository of a model`, hint: `Models are pushed to a repository of their own. ${hint}` };
  if (isRepository(given)) return undefined;
  const message = !/^[^/]+\/[^/]+$/.test(given)
    ? `${given} is not of the form OWNER/NAME`
    : `${given} is not a name that a hub accepts: letters, digits, "-", "_" and "." (not two in a row of "-" or "."), at most 96 characters`;
  return { message, hint };
}

function isRepository(name: string): boolean {
  return /^[A-Za-z0-9_][\w.-]{0,95}\/[A-Za-z0-9_][\w.-]{0,95}$/.test(name) && !/--|\.\.|[.-](\/|$)|\.git$/.test(name);
}

/** Git's own rules, and none that looks like a commit or a pull request. */
function revisionProblem(kind: 'branch' | 'tag', name: string): NameProblem | undefined {
  const hint = kind === 'tag' ? 'Write a name such as v1.0' : 'Write a name such as main or candidate.';
  if (/^refs\//.test(name)) return { message: `${name} is not the name of a ${kind}: a push makes no pull requests`, hint };
  if (/^[0-9a-f]{40}$/.test(name)) return { message: `${name} is the hash of a commit, not the name of a ${kind}`, hint };
  if (/^[\w][\w./-]*$/.test(name) && !/\.\.|\/\/|\/\.|\.lock(\/|$)|[./]$/.test(name) && name.length <= 200) return undefined;
  return { message: `${name === '' ? 'an empty text' : name} is not the name of a ${kind} in git`, hint };
}
