import { readFile, writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';

export default defineStep({
  name: 'NAME',
  version: 1,
  description: 'Keeps lines with a minimum length.',
  inputs: { text: { kind: 'file', description: 'Lines of text.' } },
  outputs: { text: { kind: 'file', description: 'The lines that were kept.' } },
  // JSON Schema. It checks the options before a run, completes them in editors and types `options` below.
  options: {
    min_length: { type: 'integer', minimum: 0, default: 10, description: 'Lines with fewer characters are dropped.' },
  },
  async run({ options, inputs, outputs, log, metric }) {
    const lines = (await readFile(inputs.text, 'utf8')).split('\n').filter((line) => line !== '');
    const kept = lines.filter((line) => line.length >= options.min_length);
    // tunesmith prints a StepError without a stack trace. Its arguments: what is wrong, and what to do.
    if (kept.length === 0) throw new StepError('no line is long enough', 'Lower `min_length`.');
    log(`kept ${kept.length} of ${lines.length} lines`);
    metric('kept', kept.length);
    await writeFile(outputs.text, `${kept.join('\n')}\n`);
  },
});
