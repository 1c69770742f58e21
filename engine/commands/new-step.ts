/** `tunesmith new-step NAME`: a step of one's own, and a small pipeline that tries it. */

import { builtinNames } from '../registry.ts';
import { print } from '../report/print.ts';
import { writeNew } from './new-files.ts';
import { usage } from './pipeline-file.ts';

export default function newStep(name: string): void {
  if (!/^[a-z][a-z0-9-]*$/.test(name))
    throw usage(`"${name}" cannot name a step`, 'Lower-case letters, digits and dashes: drop-short-lines');
  if (builtinNames().includes(name)) throw usage(`"${name}" is a built-in step`, 'Choose another name.');
  const written = writeNew('.', { [`${name}.ts`]: step(name), [`${name}.yaml`]: pipeline(name) });
  print(`wrote ${written.join(', ')}\n\n  tunesmith run ${name}.yaml\n`);
}

function step(name: string): string {
  return `import { readFile, writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';

export default defineStep({
  name: '${name}',
  version: 1,
  description: 'Keeps the lines that are long enough.',
  inputs: { text: { kind: 'file', description: 'Lines of text.' } },
  outputs: { text: { kind: 'file', description: 'The lines that were kept.' } },
  // JSON Schema: checked before anything runs, completed in editors, and the types of \`options\` below.
  options: {
    min_length: { type: 'integer', minimum: 0, default: 10, description: 'Lines with fewer characters are dropped.' },
  },
  async run({ options, inputs, outputs, log, metric }) {
    const lines = (await readFile(inputs.text, 'utf8')).split('\\n').filter((line) => line !== '');
    const kept = lines.filter((line) => line.length >= options.min_length);
    // A StepError is shown without a stack trace: what is wrong, and what to do.
    if (kept.length === 0) throw new StepError('no line is long enough', 'Set a lower \`min_length\`.');
    log(\`kept \${kept.length} of \${lines.length} lines\`);
    metric('kept', kept.length);
    await writeFile(outputs.text!, \`\${kept.join('\\n')}\\n\`);
  },
});
`;
}

function pipeline(name: string): string {
  return `name: ${name}

steps:
  lines:
    run: printf '%s\\n' 'a short one' 'and one that is quite a bit longer' > \${{ outputs.text }}
    outputs: { text: out/lines.txt }

  kept:
    uses: ./${name}.ts
    with:
      text: \${{ steps.lines.text }}
      min_length: 20
`;
}
