/**
 * The environment of a cell's child process: the variables that every program needs, those that the step declares, and its
 * GPUs. Nothing else is passed, so that a result cannot depend on an undeclared variable.
 */
import { variableIn } from '../pipeline/outside.ts';
import type { Cell } from '../pipeline/pipeline.ts';

export function childEnvironment(cell: Cell, gpus: string[], from: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const environment: Record<string, string> = Object.create(null);
  const node = cell.action.kind === 'step';
  for (const [name, value] of Object.entries(from)) {
    if (value !== undefined && (isOfTheMachine(name) || (node && OF_NODE.has(name)))) environment[name] = value;
  }
  for (const [name, value] of Object.entries(cell.env)) {
    if (value === undefined) delete environment[name];
    else environment[name] = value;
  }
  // A cell that does not declare GPUs sees the same ones as tunesmith.
  if (cell.resources.gpu !== undefined) environment.CUDA_VISIBLE_DEVICES = gpus.join(',');
  for (const name of cell.secrets) {
    const value = variableIn(from, name);
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}

/** The values of the secrets that are set, for masking. */
export function secretValues(cell: Cell, from: NodeJS.ProcessEnv = process.env): string[] {
  return cell.secrets.flatMap((name) => variableIn(from, name) || []);
}

function isOfTheMachine(name: string): boolean {
  return BY_NAME.has(name) || /^(LC_|CUDA_|NVIDIA_|DYLD_)/.test(name) || /^(https?|ftp|all|no)_proxy$/i.test(name);
}

const BY_NAME = new Set(['PATH', 'HOME', 'USER', 'SHELL', 'LANG', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH']);

/**
 * Variables with the paths of this machine's certificates, which steps need behind a company proxy, and of the files that
 * `tunesmith setup` has installed.
 */
const OF_NODE = new Set(['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'TUNESMITH_HOME', 'XDG_DATA_HOME']);
