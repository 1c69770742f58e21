/** The protocols that `tunesmith serve --api` offers. */
import type { Protocol } from './protocol.ts';
import { tunesmith } from './tunesmith-protocol.ts';

export const PROTOCOLS: readonly Protocol[] = [tunesmith];
