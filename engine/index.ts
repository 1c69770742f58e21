/// <reference types="node" preserve="true" />
/** What `import … from 'tunesmith'` gives: the step contract. With it come Node's types, which a step needs to read and write. */
export * from './step.ts';
