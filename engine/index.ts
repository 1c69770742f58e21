/** What `import … from 'tunesmith'` gives: the step contract. */
export * from './step.ts';
