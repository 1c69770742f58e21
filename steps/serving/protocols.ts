/** The protocols that `tunesmith serve --api` offers. */
import { StepError } from '../../engine/contract/step.ts';
import { azureml } from './azureml-protocol.ts';
import { huggingface } from './huggingface-protocol.ts';
import { kserve } from './kserve-protocol.ts';
import { openai } from './openai-protocol.ts';
import type { Protocol } from './protocol.ts';
import { PROTOCOL_NAMES, type ProtocolName } from './protocol-names.ts';
import { sagemaker } from './sagemaker-protocol.ts';
import { tunesmith } from './tunesmith-protocol.ts';
import { vertex } from './vertex-protocol.ts';

const PROTOCOLS: Record<ProtocolName, Protocol> = { tunesmith, huggingface, kserve, openai, sagemaker, vertex, azureml };

/** The own protocol, and the named ones. @throws StepError for an unknown name */
export function protocolsOf(names: readonly string[] = []): Protocol[] {
  const unknown = names.find((name) => !Object.hasOwn(PROTOCOLS, name));
  if (unknown !== undefined) throw new StepError(`--api ${unknown}: there is no such protocol`, `Protocols: ${PROTOCOL_NAMES.join(', ')}.`);
  return [...new Set<string>(['tunesmith', ...names])].map((name) => PROTOCOLS[name as ProtocolName]);
}
