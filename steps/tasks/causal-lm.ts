/** Language modelling from left to right: a text, and what comes next. */
import { nextTokenTask } from './next-tokens.ts';

export const causalLm = nextTokenTask('causal-lm', [{ name: 'text' }]);
