/** One text into another, as in translating or summing up. */
import { nextTokenTask } from './next-tokens.ts';

export const seq2seq = nextTokenTask('seq2seq', [{ name: 'text' }]);
