/// <reference types="node" preserve="true" />
/** The public API, `import … from 'tunesmith'`: the step contract, and Node's types, which steps use to read and write files. */
export type * from './contract/step.ts';
export { aliasesOf, defineStep, memoryLimit, StepError } from './contract/step.ts';
