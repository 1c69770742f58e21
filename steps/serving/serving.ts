/** What answers from a bundle: whole files (`tunesmith predict`) and requests (`tunesmith serve`). */
export { predict } from './predict.ts';
export { serve } from './serve.ts';
