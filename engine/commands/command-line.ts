/**
 * The command line: every command with its options. Each command is a file in commands/ that is loaded only when it is
 * called; its default export, or the named one, gets the arguments and options, and returns the exit code (default: 0).
 */

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Command, Option } from 'commander';
import { escaped } from '../../cache/content.ts';
import { generationSchema } from '../../steps/registry.ts';
import { usage } from '../contract/errors.ts';
import { atHome, expandPaths, folderVariables, makeFoldersAbsolute, otherHome, unexpanded } from '../files/paths.ts';
import { age, count, names, number, numbers, oneOf, size, texts, time } from './option-values.ts';
import { addServingOptions } from './serving-options.ts';

const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };

// A closed pipe (`| head`) is no error. A run in progress first stops its children (`interruptions` in exit-code.ts).
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // EIO: the terminal is closed.
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
    if (!(process as NodeJS.EventEmitter).emit('unread')) process.exit(0);
  });
}

makeFoldersAbsolute(process.env);

const HOUR = 3_600_000;

/** The arguments in the list of commands, for commands whose usage is long or has several forms. */
const LISTED: Record<string, string> = {
  runs: '',
  report: '[RUN] [CELL…]',
  cache: 'COMMAND',
  gc: 'OPTIONS',
  show: 'PATH | CELL[.OUTPUT]',
  promote: 'BUNDLE POINTER',
};

const tunesmith = new Command('tunesmith')
  .usage('COMMAND …')
  .description('Declarative, cached pipelines that fine-tune language models.')
  .version(version)
  .exitOverride()
  // The list of commands shows a short form of each usage; `help COMMAND` shows all forms.
  .configureHelp({ subcommandTerm: listed })
  .configureOutput({ outputError: () => {} }) // failed() below prints all errors in the same form
  .addHelpText(
    'after',
    '\nA cell is one instance of a step. A step with a matrix has one cell for each combination of its values.\nCELL is the name of a step (all its cells) or of one cell: "train[learning_rate=3e-4]" (in quotes, because of the shell).\nFILE is optional if there is only one pipeline. If there are several, logs, explain and show use the one that ran last.',
  );

command('run [file...]', 'run a pipeline; skip cells that are up to date', () => import('./run.ts'))
  .option('--only <cell...>', 'run only these cells')
  .option('--from <cell...>', 'run these cells and all cells that depend on them')
  .option('--until <cell...>', 'run these cells and all cells that they depend on')
  .option('--force', 'run the selected cells even if they are up to date')
  .addOption(new Option('--locked', 'fail if any result would differ from the lockfile').conflicts(['dryRun', 'force']))
  .option('--dry-run', 'print which cells would run and why, without running them')
  .addOption(
    new Option('--watch', 'run again whenever the pipeline, the --params file, an input or the code of a custom step changes').conflicts([
      'dryRun',
      'force',
      'locked',
    ]),
  )
  .option('-j, --jobs <n>', 'maximum number of cells that run at the same time (default: number of CPU cores)', count)
  .addOption(
    new Option(
      '--on-failure <what>',
      'what to do when a cell fails: stop (start no new cells), continue (run the cells that do not depend on it) or kill (also stop the running cells)',
    )
      .choices(['stop', 'continue', 'kill'])
      .default('stop'),
  )
  .addOption(param())
  .addOption(params())
  .addOption(new Option('--json', 'print each event as one line of JSON').conflicts('plain'))
  .option('--plain', 'print plain lines instead of the live view')
  .usage('[FILE] [options]');

command(
  'verify [words...]',
  'run cells again in a clean folder and compare their outputs with the lockfile or the cache',
  () => import('./verify.ts'),
)
  .addOption(new Option('--cells <n>', 'number of cells to pick at random if no CELL is named').argParser(count).default(3))
  .addOption(new Option('--seed <n>', 'seed of the random choice of cells (default: a new one each time)').argParser(count))
  .addOption(param())
  .addOption(params())
  .option('--json', 'print one line of JSON per result')
  .usage('[FILE] [CELL…] [options]');

command('validate [file...]', 'check pipelines and report all errors', () => import('./validate.ts'), 'validate')
  .addOption(param())
  .addOption(params())
  .option('--json', 'print each error as one line of JSON')
  .usage('[FILE…] [options]');

command('status [file]', 'show which cells are up to date and why the others are not', () => import('./status.ts'), 'status')
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .option('--check', 'exit with code 1 unless all cells are up to date')
  .option('--json', 'print the plan as JSON')
  .usage('[FILE] [options]');

command(
  'explain <cell...>',
  'show why a cell would run: its fingerprint, and the differences from the most similar stored result',
  () => import('./explain.ts'),
)
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .option('--json', 'print JSON')
  .addHelpText('after', '\nA fingerprint is a hash of what the result of a cell depends on: options, inputs, code and versions.')
  .usage('[FILE] CELL [options]');

command('graph [file]', 'print the pipeline as a graph', () => import('./status.ts'), 'graph')
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .addOption(new Option('--format <format>', 'output format').choices(['mermaid', 'dot', 'svg']).default('mermaid'))
  .usage('[FILE] [options]');

command('show <artifact...>', 'preview a table, model, metrics or any other file or folder', () => import('./show.ts'))
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .addOption(new Option('-n, --rows <n>', 'maximum number of rows or lines to show').argParser(count).default(10))
  .addOption(new Option('--limit <n>', 'same as --rows').argParser(count).conflicts('rows'))
  .option('--sort <column>', 'sort the rows of a table by this column, the highest value first')
  .addOption(new Option('--asc', 'with --sort: the lowest value first').conflicts('desc'))
  .option('--desc', 'with --sort: the highest value first (default)')
  .addOption(new Option('--columns <names>', 'show only these columns of a table, separated by commas').argParser(names))
  .option('--where <sql>', 'show only the rows of a table for which this SQL expression is true, such as "not correct"')
  .option('--run <run>', 'show the output of this run: a number, latest or previous')
  .option('--tensorboard <dir>', 'write the training curves (outputs named `history`) to this folder for TensorBoard')
  .addHelpText(
    'after',
    '\nCELL.OUTPUT is an output of the pipeline, such as split.data. You can also write it as two words: tunesmith show split data. CELL alone means all its outputs.',
  )
  .usage('PATH | [FILE] CELL[.OUTPUT] [options]');

command('logs <cell...>', 'print the log of the last run of a cell', () => import('./runs.ts'), 'logs')
  .addOption(file())
  .option('--run <run>', 'print the log of this run: a number, latest or previous')
  .usage('[FILE] CELL [options]');

command('runs [words...]', 'list past runs, show one run, or compare two runs', () => import('./runs.ts'))
  .addOption(file())
  .addOption(new Option('-n, --rows <n>', 'maximum number of runs to list').argParser(count).default(20))
  .option(
    '--metric <name>',
    'metric to list for each run (default: the metric of the step `select`; without this step, the first metric of `evaluate`)',
  )
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nWithout arguments, the command lists runs, with --file those of one pipeline. RUN is a number, latest or previous.' +
      '\nWithout RUN, diff compares the latest finished run with the previous one of the same pipeline.',
  )
  .usage('[show RUN | diff [RUN [RUN]]] [options]');

command('report [words...]', 'write a report about a run as one HTML file, or as Markdown', () => import('./report.ts'))
  .addOption(file())
  .addOption(new Option('--format <format>', 'html: one file; md: Markdown and SVG files').choices(['html', 'md']).default('html'))
  .option('-o, --output <file>', 'the file to write (default: report-RUN.html or report-RUN.md)')
  .option('--title <title>', 'title of the report (default: the pipeline and the run)')
  .addOption(new Option('--examples <n>', 'number of the worst mistakes to show').argParser((n) => (n === '0' ? 0 : count(n))).default(20))
  .option('--no-examples', 'show no texts of the data')
  .addHelpText('after', '\nRUN is a number, latest (the default) or previous. The report is limited to CELL… and their dependencies.')
  .usage('[FILE] [RUN] [CELL…] [options]');

command('gc', 'remove stored results that are no longer needed', () => import('./gc.ts'))
  .addOption(new Option('--keep-runs <n>', 'remove results that the last N runs of each pipeline did not use').argParser(count))
  .addOption(new Option('--older-than <time>', 'remove results that no run has used for this long: 12h, 30d, 8w').argParser(age))
  .addOption(
    new Option('--max-size <size>', 'remove the least recently used results until the cache has this size: 500MB, 10GB').argParser(size),
  )
  .option('--kept', 'remove .tunesmith/kept: files of yours that were in the way of an output and were moved there')
  .option('--failed', 'remove .tunesmith/failed: the outputs of failed cells')
  .addOption(new Option('--dry-run', 'print what would be removed, without removing it').conflicts('yes'))
  .option('--yes', 'do not ask for confirmation; required if there is no terminal')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nAt least one of the first five options is required.' +
      '\nIf several of --keep-runs, --older-than and --max-size are given, a result is removed only if each of these options would remove it.' +
      '\nIf --older-than is given, --kept and --failed remove only files that are at least this old.' +
      '\nResults stay if a lockfile, a run in progress or another project with the same cache uses them.',
  )
  .usage('--keep-runs N | --older-than TIME | --max-size SIZE | --kept | --failed [options]');

command('cache <what...>', 'list, measure, verify, export or import stored results', () => import('./cache.ts'))
  .addOption(file())
  .addOption(new Option('-n, --rows <n>', 'maximum number of results to list').argParser(count).default(20))
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    `
ls [CELL…]            list the results, newest first
du                    show the disk space of the results of each step, and of everything else in .tunesmith/
verify                check the hash of every object; move damaged objects out of the cache
export FILE [CELL…]   write results and their objects to an archive
import FILE           add the results of an archive to this cache, checking the hash of every object`,
  )
  .usage('ls [CELL…] | du | verify | export FILE [CELL…] | import FILE [options]');

command('doctor', 'check this machine and print what to install', () => import('./doctor.ts'), 'doctor').option('--json', 'print JSON');

command('setup <what>', 'install TensorFlow, which npm cannot install', () => import('./doctor.ts'), 'setup')
  .option('--gpu', 'install the build for NVIDIA GPUs (default if an NVIDIA driver is found)')
  .option('--cpu', 'install the build for CPUs')
  .usage('tensorflow [options]');

command(
  'models [model...]',
  'list base models with the memory and time that training needs on this machine, and recommend one',
  () => import('./models.ts'),
  'models',
)
  .option(
    '--task <task>',
    'list only models for this task: text-classification, token-classification, question-answering, masked-lm, causal-lm or seq2seq (default with --data: text-classification)',
  )
  .option('--data <file>', 'estimate the time for these data: a file or folder that the step collect can read')
  .option('--column <name>', 'column that contains the texts (default: text)')
  .option(
    '--language <name>',
    'language of the texts, such as French (default: English; if many letters of the texts are not English, a model for several languages is recommended)',
  )
  .addOption(new Option('--epochs <n>', 'passes over the data (default: 3, as in train)').argParser(count))
  .addOption(new Option('--batch-size <n>', 'sequences in a batch (default: 32, as in train)').argParser(count))
  .addOption(new Option('--max-length <n>', 'maximum number of tokens of a text (default: 128; question-answering: 384)').argParser(count))
  .addOption(
    new Option('--max-time <time>', 'recommend a model that trains within this time, if there is one: 90s, 20m, 2h')
      .argParser(time)
      .default(HOUR, '1h'),
  )
  .option('--calibrate', 'measure the speed of this machine again')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nMODEL is a model folder or an address that is added to the list. Without --data, the time is for 1,000 texts of the maximum length.' +
      '\nThe first call measures the speed of this machine for some seconds and stores the result.',
  )
  .usage('[MODEL…] [options]');

readingOptions(
  command('predict <bundle> <file>', 'predict a label or an answer for each input in a file', () => import('./model.ts'), 'predict'),
  'text',
)
  .addOption(new Option('--columns <names>', 'input columns to copy to the output, such as id,label (default: id)').argParser(names))
  .option('-o, --output <file>', 'file to write the predictions to (default: stdout)')
  .addOption(
    new Option(
      '--output-format <format>',
      'output format (default: csv if the name of the output file ends in .csv, otherwise jsonl)',
    ).choices(['jsonl', 'csv']),
  )
  .addHelpText(
    'after',
    `${otherModels('BUNDLE')}\nFILE is JSON, CSV, Parquet, or plain text with one input per line. If FILE is -, stdin is read.`,
  )
  .usage('BUNDLE FILE [options]');

const generate = readingOptions(
  command(
    'generate <model> [prompt...]',
    'complete a prompt, streaming the text, or complete all prompts in a file',
    () => import('./model.ts'),
    'generate',
  ),
  'prompt',
)
  .option('--file <file>', 'file of prompts: JSON, CSV, Parquet, or plain text with one prompt per line; - for stdin')
  .addOption(new Option('--batch-size <n>', 'number of prompts of a file to process at the same time').argParser(count).default(8))
  .addOption(new Option('--threads <n>', 'number of CPU cores to use (default: all)').argParser(count))
  .addHelpText('after', otherModels('MODEL'))
  .usage('MODEL "PROMPT" | --file FILE [options]');

addServingOptions(command('serve <bundle>', 'serve a bundle over HTTP', () => import('./model.ts'), 'serve'))
  .addHelpText(
    'after',
    `${otherModels('BUNDLE')}\nRequests: POST /predict {"inputs": [INPUT, …]}, or for a generative model POST /generate {"prompt": "PROMPT"}.\nSIGUSR2 reloads the bundle, the API keys, the certificate and the access log. SIGTERM ends the server.`,
  )
  .usage('BUNDLE [options]');

command('promote [path...]', 'make a bundle the deployed one, go back to the one before, or list the history', () => import('./promote.ts'))
  .option('--rollback', 'make the bundle current that was so before')
  .addOption(new Option('--history', 'list all promotions').conflicts('rollback'))
  .addOption(
    new Option('--expect <hash>', 'fail unless this bundle is current: at least 8 digits of its hash, or none').conflicts('history'),
  )
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nPOINTER is a folder that promote creates. It contains a copy of each promoted bundle, and the history.' +
      '\nBUNDLE may be another pointer: its current bundle is promoted. The commands serve, predict and generate take a pointer in place of a bundle.',
  )
  .usage('BUNDLE POINTER | POINTER --rollback | POINTER --history [options]');

command('push <bundle> <repository>', 'upload a bundle to a model repository on the Hugging Face hub', () => import('./push.ts'))
  .option('--private', 'create the repository as a private one; refuse a public one')
  .option('--branch <name>', 'branch to commit to, created if there is none (default: main)')
  .option('--tag <name>', 'tag for the commit; a tag that exists is never moved')
  .option('--message <text>', 'message of the commit')
  .option('--delete-others', 'delete the files of the repository that the bundle does not have')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    `${otherModels('BUNDLE')} It must have a model card, README.md, as the bundles of deploy have.` +
      '\nThe token is HF_TOKEN, or that of `hf auth login`. HF_ENDPOINT is the address of another hub.' +
      '\nA push that ended early can be repeated: large files that have arrived are not sent again.',
  )
  .usage('BUNDLE OWNER/NAME [options]');

command('new-step <name>', 'create a custom step and a pipeline that uses it', () => import('./init.ts'), 'newStep').usage('NAME');

command('schema', 'print the JSON Schema of pipeline files, for editors', () => import('./validate.ts'), 'schema').option(
  '-o, --output <file>',
  'file to write the schema to',
);

command('init [dir]', 'create a small example pipeline', () => import('./init.ts'), 'init').usage('[DIR]');

process.on('uncaughtException', (error) => failed(error).then((code) => process.exit(code)));
try {
  refuseOtherEncodings(process.argv);
  // The other commands start without loading a step.
  if (process.argv.includes('generate')) addGenerationFlags(generate, await generationSchema());
  await tunesmith.parseAsync();
} catch (error) {
  process.exitCode = await failed(error);
}

/** The usage of a command in the list of commands, without its options and its further forms. */
function listed(command: Command): string {
  const usage = LISTED[command.name()] ?? command.usage().replace(/ \|.*$| ?\[options\]$/, '');
  return `${command.name()} ${usage}`.trimEnd();
}

/** What the argument of a command that opens a model can be. */
function otherModels(argument: string): string {
  return `\n${argument} is a bundle, the output \`model\` of train, another Hugging Face model folder, or its address (hf://owner/name).`;
}

type Run = (...args: any[]) => unknown;

/** `name`: the export of the module that runs the command. */
function command<Name extends string = 'default'>(
  words: string,
  description: string,
  load: () => Promise<Record<Name, Run>>,
  name = 'default' as Name,
): Command {
  return tunesmith
    .command(words)
    .description(description)
    .action(async (...args: unknown[]) => {
      for (const [variable, path] of folderVariables(process.env)) expanded(path, variable);
      const run = (await load())[name];
      // The last argument is commander's own. The prompts of generate are texts.
      const code = await run(...expandPaths(args.slice(0, -1), words.startsWith('generate') ? 1 : -1, expanded));
      process.exitCode = typeof code === 'number' ? code : 0;
    });
}

/** A path with `~` expanded. Refuses `~name`, so that no folder with such a name is created. `what`: where the path is written. */
function expanded(path: string, what = path): string {
  if (otherHome(path) !== undefined) throw usage(...unexpanded(path, what));
  return atHome(path);
}

async function failed(error: unknown): Promise<number> {
  const report = await import('./exit-code.ts').catch(() => undefined);
  if (report) return report.failed(error, version);
  // The import fails if file descriptors or memory run out. Throwing again would lead back here.
  process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  return 1;
}

/** Adds the options that say how to read a file of inputs. `field`: the field that holds the text. */
function readingOptions(command: Command, field: 'text' | 'prompt'): Command {
  return command
    .addOption(
      new Option('--format <format>', 'format of the file (default: from its name, otherwise from its content)').choices([
        'jsonl',
        'json',
        'csv',
        'tsv',
        'parquet',
        'lines',
      ]),
    )
    .option('--column <name>', `column or key that contains the ${field} (default: the column of the training data, otherwise ${field})`)
    .option('--delimiter <character>', 'field separator of CSV (default: detected)')
    .option('--encoding <name>', 'character encoding of the file: utf-16, latin1, windows-1252 … (default: utf-8)');
}

/** Adds a flag for each option of the schema, named as in generation_config.json, with hyphens. The model checks the values. */
function addGenerationFlags(command: Command, schema: Record<string, OptionSchema>): void {
  for (const [name, { type, enum: choices, description }] of Object.entries(schema)) {
    const flag = `--${name.replaceAll('_', '-')}`;
    if (type === 'boolean')
      command.option(flag, description).option(`--no-${flag.slice(2)}`, `turn ${name} off, even if generation_config.json turns it on`);
    else if (choices) command.addOption(new Option(`${flag} <value>`, description).choices(choices.map(String)).argParser(oneOf(choices)));
    else if (type === 'array') command.option(`--stop, ${flag} <text>`, `${description} (repeatable)`, texts);
    else if (Array.isArray(type)) command.option(`${flag} <n>`, `${description} (repeatable)`, numbers);
    else command.addOption(notNegated(new Option(`${flag} ${type === 'integer' ? '<n>' : '<x>'}`, description).argParser(number)));
  }
}

interface OptionSchema {
  /** One type, or a number and a list of numbers. */
  type?: string | readonly string[];
  enum?: readonly (string | boolean)[];
  description: string;
}

/** commander treats an option that begins with `no` as a negation. Here `no` is part of the name. */
function notNegated(option: Option): Option {
  option.negate = false;
  return option;
}

function file(): Option {
  return new Option('-f, --file <file>', 'pipeline file');
}

function param(): Option {
  return new Option('-p, --param <key=value>', 'set a parameter (repeatable)').argParser(texts);
}

function params(): Option {
  return new Option('--params <file>', 'set parameters from a YAML or JSON file');
}

/** Throws for an argument that is not UTF-8: Node replaces its bytes by U+FFFD, which would silently change parameters and paths. */
function refuseOtherEncodings(decoded: string[]): void {
  if (!decoded.some((argument) => argument.includes('\ufffd'))) return;
  const all = rawArguments();
  const wrong = all.findIndex((argument) => !isUtf8(argument));
  if (wrong < 0) return;
  const flag = all[wrong - 1]?.toString() ?? '';
  const name = `${flag.startsWith('-') ? `${flag} ` : ''}${escaped(all[wrong]!)}`;
  throw usage(`the argument ${name} is not UTF-8`, 'Set the terminal to UTF-8, or give parameters in a file: --params FILE.');
}

function rawArguments(): Buffer[] {
  try {
    const all = readFileSync('/proc/self/cmdline', 'latin1');
    return all.split('\0').map((argument) => Buffer.from(argument, 'latin1'));
  } catch {
    return []; // not available on this system
  }
}
