/** `tunesmith explain CELL`: what decides a cell's result, and what is different from the last one. */

import { type Colors, colorsFor } from '../report/colors.ts';
import { count, moment, oneLine, pad, width } from '../report/text.ts';
import { type Explanation, explainCell } from '../run/explain.ts';
import type { Components } from '../run/fingerprint.ts';
import { cellsNamed } from '../run/selection.ts';
import type { Difference } from '../run/why.ts';
import type { Json } from '../step.ts';
import { fileAmong, openPipeline, type PipelineOptions, usage } from './pipeline-file.ts';

export default async function explain(words: string[], options: PipelineOptions): Promise<void> {
  const { file, rest } = fileAmong(words);
  if (rest.length !== 1)
    throw usage(`explain takes one cell or step${rest.length > 1 ? `, not ${rest.length}` : ''}`, 'For example: tunesmith explain train');
  const pipeline = await openPipeline(file, options);
  const cells = cellsNamed(pipeline, rest[0]!);
  const colors = colorsFor(process.stdout);
  const told: string[] = [];
  // A word that names nothing is explained as such.
  for (const name of cells.length > 0 ? cells.map(({ name }) => name) : [rest[0]!]) {
    told.push(explanationLines(await explainCell(pipeline, name), colors).join('\n'));
  }
  process.stdout.write(`${told.join('\n\n')}\n`);
}

const STATES = {
  fresh: 'fresh: its outputs are what this fingerprint made',
  restore: 'to be restored from the cache',
  run: 'to run',
  depends: 'to be decided once the cells above it ran',
  off: 'left out by `when`',
};

function explanationLines({ cell, state, why, fingerprint, components, against, differences }: Explanation, colors: Colors): string[] {
  const because = why && state !== 'fresh' ? `: ${oneLine(why)}` : '';
  const lines = [`${colors.bold(cell)} is ${STATES[state]}${because}`];
  if (fingerprint && components) {
    const rows = componentRows(components);
    const names = Math.max(...rows.map(([name]) => width(name)));
    lines.push('', `fingerprint ${fingerprint}, made of`, ...rows.map(([name, value]) => `  ${colors.dim(pad(name, names))}  ${value}`));
  }
  if (against && against.fingerprint !== fingerprint) {
    lines.push(
      '',
      `compared with the result of ${moment(against.created)} (${short(against.fingerprint)})`,
      ...differences.flatMap(differenceLines),
    );
  } else if (against) lines.push('', `its result was made on ${moment(against.created)}`);
  else if (fingerprint) lines.push('', 'it has no earlier result to compare with');
  return lines;
}

/** Every component of a fingerprint, hashes cut to what tells them apart. */
function componentRows({
  step,
  version,
  code,
  libraries = {},
  options = {},
  commands = [],
  shell,
  inputs,
  env,
  outputs,
}: Components): [string, string][] {
  return [
    ...(step === undefined ? [] : [['step', `${step}, version ${version}`] as [string, string]]),
    ...(code ? [['code', `${short(code.hash)}, ${count(Object.keys(code.files).length, 'file')}`] as [string, string]] : []),
    ...Object.entries({ ...libraries, ...code?.packages }).map(([name, v]): [string, string] => [`library ${name}`, v]),
    ...commands.map((command): [string, string] => [shell ?? 'command', oneLine(command)]),
    ...Object.entries(options).map(([name, value]): [string, string] => [`option ${name}`, plain(value)]),
    ...Object.entries(inputs).flatMap(([role, { hash, files, revisions = {} }]): [string, string][] => [
      [`input ${role}`, `${short(hash)}, ${count(files, 'path')}`],
      ...Object.entries(revisions).map(([address, revision]): [string, string] => ['', `${address} is ${short(revision)}`]),
    ]),
    ...Object.entries(env).map(([name, hash]): [string, string] => [`env ${name}`, hash === null ? 'not set' : `set (${short(hash)})`]),
    ['outputs', outputs.join(', ') || 'none'],
  ];
}

function differenceLines({ what, before, after, files, total }: Difference): string[] {
  const values = before === undefined && after === undefined ? ' changed' : `: ${before ?? 'unset'} → ${after ?? 'unset'}`;
  const many = files && total ? `: ${files.length} of ${count(total, 'file')}` : '';
  const named = (files ?? []).slice(0, FILES).map(({ name, change }) => `      ${change}  ${name}`);
  if (files && files.length > FILES) named.push(`      + ${files.length - FILES} more`);
  return [`  ${what}${values}${many}`, ...named];
}

const FILES = 20;

function short(hash: string): string {
  return hash.slice(0, 12);
}

function plain(value: Json): string {
  return typeof value === 'string' ? oneLine(value) : JSON.stringify(value);
}
