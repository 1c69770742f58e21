/** The public interface of serving: for whole files (`tunesmith predict`) and for requests (`tunesmith serve`). */
export { predict } from './predict.ts';
export { serve } from './serve.ts';
