/** `tunesmith new-step NAME`: creates a step, a small pipeline that uses it, and the settings that an editor needs to check it. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageFolder } from '../pipeline/packages.ts';
import { builtinNames } from '../registry.ts';
import { writeNew } from './new-files.ts';
import { usage } from './pipeline-file.ts';

export default function newStep(name: string): void {
  if (!/^[a-z][a-z0-9-]*$/.test(name))
    throw usage(`"${name}" is not a valid name for a step`, 'Use lower-case letters, digits and dashes, for example drop-short-lines.');
  if (builtinNames().includes(name)) throw usage(`"${name}" is a built-in step`, 'Choose another name.');
  const files: Record<string, string> = { [`${name}.ts`]: step(name), [`${name}.yaml`]: pipeline(name) };
  if (!hasTypescriptSettings(resolve('.'))) files['tsconfig.json'] = tsconfig();
  const written = writeNew('.', files);
  process.stdout.write(`wrote ${written.join(', ')}\n\n  tunesmith run ${name}.yaml\n`);
  if (files['tsconfig.json'] !== undefined && !isInstalledHere())
    process.stdout.write(
      '\ntsconfig.json points editors to this installation of tunesmith. `npm install --save-dev tunesmith` makes that entry unnecessary.\n',
    );
}

/** An existing file of the user takes precedence and is not changed. */
function hasTypescriptSettings(folder: string): boolean {
  return existsSync(join(folder, 'tsconfig.json')) || (dirname(folder) !== folder && hasTypescriptSettings(dirname(folder)));
}

function isInstalledHere(): boolean {
  return packageFolder('tunesmith', resolve('.')) !== undefined;
}

/** Settings for type checks in editors. A run needs none and resolves imports as a bundler does. */
function tsconfig(): string {
  const types = fileURLToPath(new URL('../index.d.ts', import.meta.url));
  const compilerOptions = {
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    ...(isInstalledHere() ? {} : { paths: { tunesmith: [types] } }),
  };
  return `${JSON.stringify({ compilerOptions }, null, 2)}\n`;
}

function step(name: string): string {
  return `import { readFile, writeFile } from 'node:fs/promises';
import { defineStep, StepError } from 'tunesmith';

export default defineStep({
  name: '${name}',
  version: 1,
  description: 'Keeps lines with a minimum length.',
  inputs: { text: { kind: 'file', description: 'Lines of text.' } },
  outputs: { text: { kind: 'file', description: 'The lines that were kept.' } },
  // JSON Schema. It checks the options before a run, completes them in editors and types \`options\` below.
  options: {
    min_length: { type: 'integer', minimum: 0, default: 10, description: 'Lines with fewer characters are dropped.' },
  },
  async run({ options, inputs, outputs, log, metric }) {
    const lines = (await readFile(inputs.text, 'utf8')).split('\\n').filter((line) => line !== '');
    const kept = lines.filter((line) => line.length >= options.min_length);
    // tunesmith prints a StepError without a stack trace. Its arguments: what is wrong, and what to do.
    if (kept.length === 0) throw new StepError('no line is long enough', 'Lower \`min_length\`.');
    log(\`kept \${kept.length} of \${lines.length} lines\`);
    metric('kept', kept.length);
    await writeFile(outputs.text, \`\${kept.join('\\n')}\\n\`);
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
