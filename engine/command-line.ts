/**
 * The command line: every command with its options. Each command is a file in commands/ that is loaded only when it is
 * called; its default export gets the arguments and options, and returns the exit code (0 when it returns nothing).
 */
import { createRequire } from 'node:module';
import { Command, InvalidArgumentError, Option } from 'commander';
import { refuseOtherEncodings } from './arguments.ts';
import { age, size } from './commands/quantities.ts';
import { pathsAtHome, settleFolders } from './home.ts';

const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };

// A reader that went away (`| head`) is no error. A run in progress stops its children first (commands/interruptions.ts).
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // EIO: the terminal was closed.
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
    if (!(process as NodeJS.EventEmitter).emit('unread')) process.exit(0);
  });
}

settleFolders(process.env);

const tunesmith = new Command('tunesmith')
  .usage('COMMAND …')
  .description('Declarative, cached pipelines that fine-tune language models.')
  .version(version)
  .exitOverride()
  // Of the alternatives the list shows the first; `help COMMAND` shows all.
  .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage().replace(/ \|.*$| ?\[options\]$/, '')}`.trimEnd() })
  .configureOutput({ outputError: () => {} }) // failed() below shows all mistakes in one manner
  .addHelpText(
    'after',
    '\nCELL is a step (all its cells), or a cell by some of its values: train[learning_rate=3e-4].\nFILE may be left out where there is one pipeline.',
  );

command('run [file...]', 'run a pipeline: what is fresh is kept, what changed is run', () => import('./commands/run.ts'))
  .option('--only <cell...>', 'just these cells')
  .option('--from <cell...>', 'these cells and all below them')
  .option('--until <cell...>', 'these cells and all above them')
  .option('--force', 'run the selected cells even when they are fresh')
  .addOption(new Option('--locked', 'fail if anything would differ from the lock beside the pipeline').conflicts(['dryRun', 'force']))
  .option('--dry-run', 'say what would run, and why; change nothing')
  .addOption(
    new Option('--watch', 'run again when the pipeline, an input or code of a step has changed').conflicts(['dryRun', 'force', 'locked']),
  )
  .option('-j, --jobs <n>', 'how many cells at once at most (default: the cores)', count)
  .addOption(new Option('--on-failure <what>', 'when a cell fails').choices(['stop', 'continue', 'kill']).default('stop'))
  .addOption(param())
  .addOption(params())
  .addOption(new Option('--json', 'print every event as a line of JSON').conflicts('plain'))
  .option('--plain', 'print plain lines, no live view')
  .usage('[FILE] [options]');

command(
  'verify [words...]',
  'execute cells again in a clean folder, and compare what they make with the lock',
  () => import('./commands/verify.ts'),
)
  .addOption(new Option('--cells <n>', 'how many cells to draw where none is named').argParser(count).default(3))
  .addOption(new Option('--seed <n>', 'which cells are drawn (default: others each time)').argParser(count))
  .addOption(param())
  .addOption(params())
  .option('--json', 'print lines of JSON')
  .usage('[FILE] [CELL…] [options]');

command('validate [file...]', 'check pipelines and report every mistake', () => import('./commands/validate.ts'))
  .addOption(param())
  .addOption(params())
  .option('--json', 'print mistakes as lines of JSON')
  .usage('[FILE…] [options]');

command('status [file]', 'say which cells are fresh, and why the others are not', () => import('./commands/status.ts'))
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .option('--check', 'exit with 1 unless every cell is fresh')
  .option('--json', 'print the plan as JSON')
  .usage('[FILE] [options]');

command(
  'explain <cell...>',
  'tell what decides a cell: its fingerprint, and all that differs from its nearest earlier result',
  () => import('./commands/explain.ts'),
)
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .option('--json', 'print JSON')
  .usage('[FILE] CELL [options]');

command('graph [file]', 'draw the pipeline', () => import('./commands/graph.ts'))
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .addOption(new Option('--format <format>', 'how to draw it').choices(['mermaid', 'dot', 'svg']).default('mermaid'))
  .usage('[FILE] [options]');

command('show <artifact...>', 'preview a table, model, metrics or any other file or folder', () => import('./commands/show.ts'))
  .addOption(file())
  .addOption(param())
  .addOption(params())
  .addOption(new Option('-n, --rows <n>', 'how many rows or lines to show').argParser(count).default(10))
  .option('--run <run>', 'an output as this run had it: a number, latest or previous')
  .option('--tensorboard <dir>', 'write the curves of trainings there, for TensorBoard, from their outputs `history`')
  .addHelpText('after', '\nARTIFACT is a path, or an output of the pipeline: split.data, or [FILE] CELL OUTPUT.')
  .usage('ARTIFACT [options]');

command('logs <cell...>', 'print what a cell wrote when it last ran', () => import('./commands/logs.ts'))
  .addOption(file())
  .option('--run <run>', 'what it wrote in this run: a number, latest or previous')
  .usage('[FILE] CELL [options]');

command('runs [words...]', 'list past runs; show one of them; tell what differs between two', () => import('./commands/runs.ts'))
  .addOption(file())
  .addOption(new Option('-n, --rows <n>', 'how many runs to list').argParser(count).default(20))
  .option('--metric <name>', 'list this metric of each run (default: the one that its select, or else its evaluate, names)')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nAlone it lists runs. RUN is the number of one, latest, or previous. Without any, diff compares the latest finished run with the finished one before of the same pipeline.',
  )
  .usage('show RUN | diff [RUN [RUN]] [options]');

command('gc', 'remove stored results that nothing needs any more', () => import('./commands/gc.ts'))
  .addOption(new Option('--keep-runs <n>', 'keep what the last N runs of each pipeline of this project relied on').argParser(count))
  .addOption(new Option('--older-than <time>', 'only what was not used for so long: 12h, 30d, 8w').argParser(age))
  .addOption(new Option('--max-size <size>', 'what was not used for longest, until so much is left: 500MB, 10GB').argParser(size))
  .option('--kept', 'also files of yours that runs found in the places of outputs and put into .tunesmith/kept')
  .option('--failed', 'also what cells left in .tunesmith/failed that have not succeeded since')
  .addOption(new Option('--dry-run', 'only say what would go').conflicts('yes'))
  .option('--yes', 'do not ask (without a terminal nothing is removed unless this is given)')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nAt least one scope is needed; with several, a result goes only where all of them let it go.' +
      '\nWhat runs put aside is listed, and goes only with --kept or --failed (with --older-than, what lies there for so long).' +
      '\nWhat a lock, a running run or another project on the same cache refers to always stays.',
  )
  .usage('--keep-runs N | --older-than TIME | --max-size SIZE | --kept | --failed [options]');

command('cache <what...>', 'list, measure, check, export or import what is stored', () => import('./commands/cache.ts'))
  .addOption(file())
  .addOption(new Option('-n, --rows <n>', 'how many results to list').argParser(count).default(20))
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    `
ls [CELL…]            the results, newest first
du                    how much room they take, step by step
verify                reads every object; damaged ones are set aside
export FILE [CELL…]   writes results with their objects into an archive
import FILE           takes the results of an archive into this cache; every byte is checked`,
  )
  .usage('ls | du | verify | export FILE | import FILE [options]');

command(
  'doctor',
  'check this machine: what is there, what is chosen, what to install for more',
  () => import('./commands/doctor.ts'),
).option('--json', 'print JSON');

command('setup <what>', 'install what npm cannot: TensorFlow', () => import('./commands/setup.ts'))
  .option('--gpu', 'the build of TensorFlow for NVIDIA GPUs (the default where there is a driver of one)')
  .option('--cpu', 'the build for CPUs')
  .usage('tensorflow [options]');

readingOptions(
  command(
    'predict <bundle> <file>',
    'label every text of a file (JSON, CSV, Parquet, plain lines; - is stdin)',
    () => import('./commands/predict.ts'),
  ),
  'text',
)
  .addOption(new Option('--columns <names>', 'columns to keep beside each answer, such as id,label (default: id)').argParser(names))
  .option('-o, --output <file>', 'write the answers there; a name that ends in .csv makes CSV')
  .addOption(new Option('--output-format <format>', 'what to write (default: jsonl)').choices(['jsonl', 'csv']))
  .usage('BUNDLE FILE [options]');

generationOptions(
  command(
    'generate <model> [prompt...]',
    'go on with a prompt, as the text comes; or with every prompt of a file',
    () => import('./commands/generate.ts'),
  ),
).usage('MODEL "PROMPT" | --file FILE [options]');

command(
  'serve <bundle>',
  'answer POST /predict {"inputs": string | string[]} from a bundle, or /generate {"prompt"} if it writes',
  () => import('./commands/serve.ts'),
)
  .addOption(new Option('--host <host>', 'address to listen on').default('127.0.0.1'))
  .addOption(new Option('--port <port>', 'port to listen on; 0 takes a free one').argParser(port).default(8080))
  .option('--allow-host <name>', 'answer requests for this host, too (again for more; default: on loopback localhost only)', texts)
  .option('--allow-origin <origin>', 'let web pages of this origin ask (again for more)', texts)
  .addOption(new Option('--max-characters <n>', 'the most characters of an input or a prompt').argParser(count).default(100_000))
  .addOption(new Option('--max-new-tokens <n>', 'of a model that writes: the most tokens of a text').argParser(count).default(1024))
  .addOption(new Option('--max-time <seconds>', 'of a model that writes: the longest a request may take').argParser(count).default(60))
  .usage('BUNDLE [options]');

command('new-step <name>', 'write a step of your own to start from', () => import('./commands/new-step.ts')).usage('NAME');

command('schema', 'print the JSON Schema of pipeline files, for editors', () => import('./commands/schema.ts')).option(
  '-o, --output <file>',
  'write it there',
);

command('init [dir]', 'write a starter pipeline', () => import('./commands/init.ts')).usage('[DIR]');

process.on('uncaughtException', (error) => failed(error).then((code) => process.exit(code)));
try {
  refuseOtherEncodings(process.argv);
  await tunesmith.parseAsync();
} catch (error) {
  process.exitCode = await failed(error);
}

type Run = (...args: any[]) => unknown;

function command(words: string, description: string, load: () => Promise<{ default: Run }>): Command {
  return tunesmith
    .command(words)
    .description(description)
    .action(async (...args: unknown[]) => {
      const run = (await load()).default;
      // The last argument is commander's own. The prompts of generate are texts.
      const code = await run(...pathsAtHome(args.slice(0, -1), words.startsWith('generate') ? 1 : -1));
      process.exitCode = typeof code === 'number' ? code : 0;
    });
}

async function failed(error: unknown): Promise<number> {
  const report = await import('./commands/failed.ts').catch(() => undefined);
  if (report) return report.failed(error, version);
  // Where not even this can be loaded, for want of descriptors or memory, to throw once more would lead back here.
  process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  return 1;
}

/** How to read a file of inputs, whose main field is `field`. */
function readingOptions(command: Command, field: 'text' | 'prompt'): Command {
  return command
    .addOption(
      new Option('--format <format>', 'how to read the file (default: by its name, else its content)').choices([
        'jsonl',
        'json',
        'csv',
        'tsv',
        'parquet',
        'lines',
      ]),
    )
    .option('--column <name>', `the column or key that holds the ${field} (default: the one of the training data, else ${field})`)
    .option('--delimiter <character>', 'what parts the fields of CSV (default: what the file shows)')
    .option('--encoding <name>', 'character encoding of the file: utf-16, latin1, windows-1252 … (default: utf-8)');
}

/** Named as in generation_config.json, which has the defaults. */
function generationOptions(command: Command): Command {
  return readingOptions(command, 'prompt')
    .option(
      '--file <file>',
      'prompts in JSON, CSV, Parquet or plain lines, named `prompt` (- is stdin): prints {"text", "tokens"} for each',
    )
    .option('--max-new-tokens <n>', 'the most tokens to generate (default: 20)', number)
    .option('--max-length <n>', 'the most tokens of a sequence, prompt included', number)
    .option('--min-new-tokens <n>', 'no end before so many tokens', number)
    .option('--min-length <n>', 'no end before a sequence has so many tokens, prompt included', number)
    .option('--do-sample', 'draw each token by its probability')
    .option('--no-do-sample', 'take the likeliest token each time, whatever generation_config.json says')
    .option('--temperature <t>', 'of drawing: below 1 likely tokens become likelier still', number)
    .option('--top-k <k>', 'draw among the k likeliest tokens (default: 50; 0: among all)', number)
    .option('--top-p <p>', 'draw among the likeliest tokens that together have this probability', number)
    .option('--min-p <p>', 'draw among tokens at least this share as likely as the likeliest', number)
    .option('--seed <n>', 'of drawing (default: 0)', number)
    .option('--num-beams <n>', 'beams of beam search', number)
    .option('--length-penalty <x>', "a beam's score is divided by its length to this power (default: 1)", number)
    .addOption(new Option('--early-stopping <when>', 'when a beam search is over').choices(['true', 'false', 'never']))
    .option('--repetition-penalty <x>', 'above 1, tokens that were there already become less likely', number)
    .addOption(notNegated(new Option('--no-repeat-ngram-size <n>', 'no so many tokens in a row come twice').argParser(number)))
    .option('--num-return-sequences <n>', 'texts for each prompt', number)
    .option('--stop, --stop-strings <text>', 'a text ends once this is in it (again for more)', texts)
    .option('--eos-token-id <id>', 'a text ends with this token (again for more)', numbers)
    .option('--max-time <seconds>', 'a text ends with the next token after so long', number)
    .addOption(new Option('--batch-size <n>', 'prompts of a file that are gone on with at once').argParser(count).default(8))
    .addOption(new Option('--threads <n>', 'cores to use (default: all)').argParser(count));
}

/** To commander what begins with `no` takes something back; here it is but a name. */
function notNegated(option: Option): Option {
  option.negate = false;
  return option;
}

function file(): Option {
  return new Option('-f, --file <file>', 'the pipeline');
}

function param(): Option {
  return new Option('-p, --param <key=value>', 'set a parameter (again for more)').argParser((value: string, all: string[] = []) => [
    ...all,
    value,
  ]);
}

function params(): Option {
  return new Option('--params <file>', 'set parameters from a YAML or JSON file');
}

function count(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return Number(value);
}

/** What it may be, the options of generation know. */
function number(value: string): number {
  const found = Number(value);
  if (value.trim() === '' || Number.isNaN(found)) throw new InvalidArgumentError('It must be a number.');
  return found;
}

function numbers(value: string, all: number[] = []): number[] {
  return [...all, number(value)];
}

/** Column names, parted by commas. */
function names(value: string, all: string[] = []): string[] {
  return [...all, ...value.split(',').filter((name) => name !== '')];
}

function texts(value: string, all: string[] = []): string[] {
  return [...all, value];
}

function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65535) throw new InvalidArgumentError('It must be a number from 0 to 65535.');
  return Number(value);
}
