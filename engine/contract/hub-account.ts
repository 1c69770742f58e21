/** The hub and the account on it, which all commands and steps find in the environment as the Hugging Face libraries do. */

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { StepError } from './step-error.ts';

/** The variables that decide about the hub and its network. A step that uses the hub receives them. */
export const HUB_VARIABLES = [
  'HF_ENDPOINT',
  'HF_HOME',
  'HF_TOKEN_PATH',
  'HF_HUB_OFFLINE',
  'TRANSFORMERS_OFFLINE',
  'HF_HUB_DOWNLOAD_TIMEOUT',
  'XDG_CACHE_HOME',
  'NODE_USE_ENV_PROXY',
] as const;

/** Those that hold a token. Logs hide their values. */
export const HUB_SECRETS = ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'] as const;

/** The address of the hub, without a slash at its end. */
export function hubEndpoint(env: NodeJS.ProcessEnv = process.env): string {
  const endpoint = env.HF_ENDPOINT || 'https://huggingface.co';
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint))
    throw new StepError(`HF_ENDPOINT is not a URL: ${endpoint}`, 'The default is https://huggingface.co.');
  return endpoint.replace(/\/+$/, '');
}

/** The token, from the environment or from the file in which `hf auth login` stores it. */
export function hubToken({ HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env): string | undefined {
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const file = (HF_TOKEN_PATH ?? join(home, 'token')).replace(/^~(?=\/|$)/, () => homedir());
  return (HF_TOKEN || HUGGING_FACE_HUB_TOKEN || tokenIn(file)).replace(/\s/g, '') || undefined;
}

function tokenIn(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Whether the user wants no requests to the hub. */
export function isOffline({ HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE } = process.env): boolean {
  return /^(1|on|yes|true)$/i.test(HF_HUB_OFFLINE || TRANSFORMERS_OFFLINE || '');
}

/** What a write to the hub needs. @throws StepError if the environment lacks it */
export function hubAccount(): { endpoint: string; token: string } {
  const endpoint = hubEndpoint();
  if (isOffline()) throw new StepError('HF_HUB_OFFLINE is set, so nothing can be pushed to the hub', 'Unset it.');
  const token = hubToken();
  if (token !== undefined) return { endpoint, token };
  throw new StepError(
    'a push to the hub needs a token, and HF_TOKEN is not set',
    `Make a token that may write at ${endpoint}/settings/tokens, and set HF_TOKEN to it, or log in: hf auth login`,
  );
}
