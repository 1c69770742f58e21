/** `tunesmith explain CELL`: the parts of a cell's fingerprint, and how they differ from the most similar other result. */

import { usage } from '../contract/errors.ts';
import type { Json } from '../format/scalars.ts';
import { type Colors, colorsFor, print, printableJson, shortened } from '../format/terminal-text.ts';
import { count, moment, oneLine, pad, width } from '../format/text.ts';
import { differenceLines } from '../report/differences.ts';
import type { Components } from '../run/fingerprint.ts';
import { type Explanation, explainCells } from '../run/plan.ts';
import { fileAmong, openPipeline, type PipelineOptions } from './pipeline-file.ts';

export default async function explain(words: string[], { json, ...options }: PipelineOptions & { json?: boolean }): Promise<void> {
  const { file, rest } = fileAmong(words);
  if (rest.length !== 1)
    throw usage(`explain takes one cell or step${rest.length > 1 ? `, not ${rest.length}` : ''}`, 'For example: tunesmith explain train');
  const explanations = await explainCells(await openPipeline(file, options, { lastRun: true }), rest[0]!);
  const colors = colorsFor(process.stdout);
  const texts = explanations.map((one) => (json ? printableJson(one) : explanationLines(one, colors).join('\n')));
  print(`${texts.join(json ? '\n' : '\n\n')}\n`);
}

const STATES = {
  fresh: 'is fresh: its outputs match this fingerprint',
  restore: 'can be restored from the cache',
  run: 'must run',
  depends: 'is undecided until the cells that it depends on have run',
  off: 'is skipped, because its `when` is false',
};

function explanationLines(explanation: Explanation, colors: Colors): string[] {
  const { cell, state, why, last, fingerprint, components, made, against, differences } = explanation;
  const because = why && state !== 'fresh' ? `: ${oneLine(why)}` : '';
  const lines = [`${colors.bold(cell)} ${STATES[state]}${because}`];
  if (last) {
    const reason = last.failure ?? last.why;
    lines.push(`in run ${last.run}, it ${ENDED[last.state]}${reason ? `: ${oneLine(shortened(reason, 500))}` : ''}`);
  }
  if (fingerprint && components) {
    const rows = componentRows(components);
    const names = Math.max(...rows.map(([name]) => width(name)));
    lines.push(
      '',
      `fingerprint ${fingerprint}, computed from`,
      ...rows.map(([name, value]) => `  ${colors.dim(pad(name, names))}  ${value}`),
    );
  }
  if (made) lines.push('', `its result was created on ${moment(made)}`);
  if (against) {
    const differing = differences.flatMap((difference) => differenceLines(difference, colors).map((line) => `  ${line}`));
    lines.push(
      '',
      `differences from the most similar other result, created on ${moment(against.created)} (${short(against.fingerprint)})`,
      ...differing,
    );
  } else if (fingerprint) lines.push('', 'there is no other result to compare with');
  return lines;
}

const ENDED = {
  fresh: 'stayed fresh',
  restored: 'was restored',
  ran: 'ran',
  failed: 'failed',
  skipped: 'was skipped',
  canceled: 'was canceled',
};

/** Every component of a fingerprint, with shortened hashes. */
function componentRows({ step, version, code, shell, inputs, env, outputs, ...others }: Components): [string, string][] {
  const { libraries = {}, options = {}, commands = [] } = others;
  return [
    ...(step === undefined ? [] : [['step', `${step}, version ${version}`] as [string, string]]),
    ...(code ? [['code', `${short(code.hash)}, ${count(Object.keys(code.files).length, 'file')}`] as [string, string]] : []),
    ...Object.entries({ ...libraries, ...code?.packages }).map(([name, v]): [string, string] => [`library ${name}`, v]),
    ...commands.map((command): [string, string] => [shell ?? 'command', oneLine(command)]),
    ...Object.entries(options).map(([name, value]): [string, string] => [`option ${name}`, plain(value)]),
    ...Object.entries(inputs).flatMap(([role, { hash, files, revisions = {} }]): [string, string][] => [
      [`input ${role}`, `${short(hash)}, ${count(files, 'path')}`],
      ...Object.entries(revisions).map(([address, revision]): [string, string] => ['', `${oneLine(address)} is ${short(revision)}`]),
    ]),
    ...Object.entries(env).map(([name, hash]): [string, string] => [`env ${name}`, hash === null ? 'not set' : `set (${short(hash)})`]),
    ['outputs', outputs.join(', ') || 'none'],
  ];
}

function short(hash: string): string {
  return hash.slice(0, 12);
}

function plain(value: Json): string {
  return typeof value === 'string' ? oneLine(value) : printableJson(value);
}
