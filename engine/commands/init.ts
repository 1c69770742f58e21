/** `tunesmith init [DIR]`: creates an example pipeline with data. It fine-tunes the model of the package in seconds and without a network. */

import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtinNames } from '../../steps/registry.ts';
import { usage } from '../contract/errors.ts';
import { ownFolder, packageFolder } from '../files/packages.ts';
import { printableName, printLines } from '../format/terminal-text.ts';
import { rootOf } from '../pipeline/request.ts';
import { pipelineSchema } from '../pipeline/schema.ts';
import { pathWord, word } from '../pipeline/shell.ts';
import { nearPath } from '../report/outcome.ts';

export async function init(folder = '.'): Promise<void> {
  const schema = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  const files = {
    'starter.yaml': packaged('templates/starter.yaml'),
    'reviews.csv': reviews(),
    'pipeline.schema.json': schema,
  };
  const written = writeNew(folder, files);
  const near = nearPath(folder);
  // In a folder of a project, the outputs are at the root of that project.
  const outputs = relative(resolve(folder), join(rootOf(resolve(folder)), '.tunesmith/outputs'));
  printLines([
    `wrote ${written.map(printableName).join(', ')}`,
    '',
    ...(near === '.' ? [] : [`  cd ${word(pathWord(near))}`]),
    '  tunesmith run starter.yaml                     takes about 20 seconds; a second run has nothing to do',
    '  tunesmith show starter.yaml test.metrics       shows the metrics of the best model on the test split',
    `  tunesmith serve ${word(`${outputs}/starter/deploy/bundle`)}`,
  ]);
}

const packaged = (name: string): string => readFileSync(join(ownFolder(), 'pipelines', name), 'utf8');

/** 240 reviews made of a few words. In a quarter of them `not` reverses the meaning, which a bag of words cannot detect. */
function reviews(): string {
  const things = ['camera', 'kettle', 'keyboard', 'lamp', 'backpack', 'headset'];
  const words = { good: ['great', 'excellent', 'perfect', 'lovely', 'useful'], bad: ['awful', 'terrible', 'useless', 'poor', 'broken'] };
  const frames = ['The % is @.', 'What @ % this is!', 'I bought this % and it is @.', 'The % is not @.'];
  const rows = things.flatMap((thing) =>
    frames.flatMap((frame) =>
      Object.entries(words).flatMap(([label, all]) => {
        const meant = frame.includes('not') ? (label === 'good' ? 'bad' : 'good') : label;
        return all.map((word) => `${frame.replace('%', thing).replace('@', word)},${meant}`);
      }),
    ),
  );
  return `${['text,label', ...rows].join('\n')}\n`;
}

/** Writes either all files or none, also if the disk is full, and never overwrites one. Returns their paths for display. */
function writeNew(folder: string, files: Record<string, string>): string[] {
  const paths = Object.keys(files).map((name) => join(folder, name));
  const there = paths.filter((path) => existsSync(path));
  if (there.length > 0)
    throw usage(
      `${there.map(nearPath).join(', ')} already ${there.length === 1 ? 'exists' : 'exist'}`,
      'Nothing was written. Move the existing files away, or choose another name.',
    );
  const made: string[] = [];
  try {
    for (const [n, content] of Object.values(files).entries()) {
      const path = paths[n]!;
      const topmost = mkdirSync(dirname(path), { recursive: true });
      if (topmost !== undefined) made.push(topmost);
      const file = openSync(path, 'wx');
      made.push(path);
      try {
        writeFileSync(file, content);
      } finally {
        closeSync(file);
      }
    }
  } catch (error) {
    for (const path of made) rmSync(path, { recursive: true, force: true });
    throw error;
  }
  return paths.map(nearPath);
}

/* `tunesmith new-step NAME`: creates a step, a small pipeline that uses it, and the settings that an editor needs to check it. */

export function newStep(name: string): void {
  if (!/^[a-z][a-z0-9-]*$/.test(name))
    throw usage(`"${name}" is not a valid name for a step`, 'Use lower-case letters, digits and dashes, for example drop-short-lines.');
  if (builtinNames().includes(name)) throw usage(`"${name}" is a built-in step`, 'Choose another name.');
  const file = (extension: string) => packaged(`templates/step${extension}`).replaceAll('NAME', name);
  const files: Record<string, string> = { [`${name}.ts`]: file('.ts'), [`${name}.yaml`]: file('.yaml') };
  if (!hasTypescriptSettings(resolve('.'))) files['tsconfig.json'] = tsconfig();
  const written = writeNew('.', files);
  printLines([`wrote ${written.map(printableName).join(', ')}`, '', `  tunesmith run ${name}.yaml`]);
  if (files['tsconfig.json'] !== undefined && !isInstalledHere())
    printLines([
      '',
      'tsconfig.json points editors to this installation of tunesmith. `npm install --save-dev tunesmith` makes that entry unnecessary.',
    ]);
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
