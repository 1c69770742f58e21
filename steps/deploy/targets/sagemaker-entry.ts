/**
 * The command of an image for Amazon SageMaker: `serve` answers requests with the bundle in /opt/ml/model, and `train` runs the pipeline
 * of the channel `pipeline`. Hyperparameters and the other channels are parameters of the pipeline.
 */
import { spawn } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { access, constants, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { StepError } from '../../../engine/contract/step.ts';
import { bundleOf, CLI_FILE, serveBundle } from './entry.ts';

/** SageMaker shows this many characters. */
const LONGEST_FAILURE = 1024;

/** Tests have it elsewhere. */
const ML = process.env.TUNESMITH_SAGEMAKER_FOLDER || '/opt/ml';

/** SageMaker copies /opt/ml/checkpoints to S3, and back for an instance that replaces an interrupted one. A job may have none. */
const CHECKPOINTS = path.join(ML, 'checkpoints');

const [mode = 'serve'] = process.argv.slice(2);
if (mode === 'serve') await serveBundle(bundleOf(path.join(ML, 'model')), 'sagemaker', process.env.SAGEMAKER_BIND_TO_PORT || '8080');
else if (mode === 'train') process.exitCode = await train();
else {
  console.error(`error: the command ${JSON.stringify(mode)} is unknown; this image has serve and train`);
  process.exitCode = 2;
}

/** SageMaker shows /opt/ml/output/failure as the reason why a job failed. */
async function train(): Promise<number> {
  const fail = async (reason: string, code: number) => {
    try {
      await mkdir(path.join(ML, 'output'), { recursive: true });
      await writeFile(path.join(ML, 'output/failure'), reason.slice(0, LONGEST_FAILURE));
    } catch (error) {
      console.error(`the reason of the failure could not be written: ${(error as Error).message}`);
    }
    return code;
  };
  try {
    await requireWritable('model');
    const { folder, file, parameters, output } = await prepare();
    const { code, said } = await run(folder, ['run', file, ...parameters.flatMap((parameter) => ['-p', parameter])]);
    if (code !== 0) return await fail(said, code);
    const result = resultOf(folder, output);
    await cp(result, path.join(ML, 'model'), { recursive: true, dereference: true });
    console.log(`${path.relative(folder, result)} is in ${path.join(ML, 'model')}`);
    return 0;
  } catch (error) {
    const reason =
      error instanceof StepError ? `error: ${error.message}${error.hint === undefined ? '' : `\n  ${error.hint}`}\n` : String(error);
    process.stderr.write(reason);
    return fail(reason, error instanceof StepError ? 2 : 1);
  }
}

/** Before hours of training. */
async function requireWritable(name: string): Promise<void> {
  const folder = path.join(ML, name);
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new StepError(
      `${folder} cannot be written: ${(error as Error).message}`,
      'The user of the image has no rights. Add `USER 0` at the end of the Dockerfile of the training image.',
    );
  }
}

/** Copies the pipeline, because channels may be read-only, and gathers its parameters. */
async function prepare() {
  const data = path.join(ML, 'input/data');
  const channels = existsSync(data) ? readdirSync(data).sort() : [];
  if (!channels.includes('pipeline'))
    throw new StepError(
      'there is no channel `pipeline`',
      'Upload the folder of the pipeline to S3, and give it to the job as the channel `pipeline`.',
    );
  const folder = await mkdtemp(path.join(tmpdir(), 'training-'));
  await cp(path.join(data, 'pipeline'), folder, { recursive: true });
  await keepCheckpoints(folder);
  const { tunesmith_pipeline: named, tunesmith_output: output, ...given } = hyperparameters();
  const file = fileOf(folder, named);
  const declared = Object.keys(parse(readFileSync(path.join(folder, file), 'utf8'))?.params ?? {});
  const others = channels.filter((channel) => channel !== 'pipeline');
  const unknown = others.find((channel) => !declared.includes(channel));
  if (unknown !== undefined)
    throw new StepError(
      `the channel \`${unknown}\` is no parameter of ${file}`,
      `Declare the parameter: params: { ${unknown}: FOLDER }, and use it: files: "\${{ params.${unknown} }}/*.csv"`,
    );
  const parameters = { ...Object.fromEntries(others.map((channel) => [channel, path.join(data, channel)])), ...given };
  return { folder, file, output, parameters: Object.entries(parameters).map(([name, value]) => `${name}=${value}`) };
}

/** What an interrupted step has written so far is there, beside the results of the finished ones. */
async function keepCheckpoints(folder: string): Promise<void> {
  if (!existsSync(CHECKPOINTS)) return;
  const own = path.join(folder, '.tunesmith');
  await rm(path.join(own, 'checkpoints'), { recursive: true, force: true });
  for (const made of [own, path.join(CHECKPOINTS, 'steps')]) await mkdir(made, { recursive: true });
  await symlink(path.join(CHECKPOINTS, 'steps'), path.join(own, 'checkpoints'));
}

/** All values are strings; SageMaker's Python library writes texts as JSON. Its own parameters are left out. */
function hyperparameters(): Record<string, string> {
  const file = path.join(ML, 'input/config/hyperparameters.json');
  if (!existsSync(file)) return {};
  const given = Object.entries<string>(JSON.parse(readFileSync(file, 'utf8')));
  const own = given.filter(([name]) => !/^(sagemaker_|_tuning_)/.test(name));
  return Object.fromEntries(own.map(([name, value]) => [name, /^".*"$/s.test(value) ? textOf(value) : value]));
}

function textOf(value: string): string {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function fileOf(folder: string, named: string | undefined): string {
  const files = globSync('*.{yaml,yml}', { cwd: folder }).sort();
  if (named !== undefined && files.includes(named)) return named;
  if (named === undefined && files.length === 1) return files[0]!;
  throw new StepError(
    named === undefined ? `the channel \`pipeline\` has ${files.length} pipelines` : `the channel \`pipeline\` has no file ${named}`,
    `Choose one with the hyperparameter tunesmith_pipeline${files.length > 0 ? `: ${files.join(', ')}` : ', and put it into the channel'}.`,
  );
}

/** Runs tunesmith. Stored results are in the folder of checkpoints if the job has one, so that an interrupted job continues. */
function run(cwd: string, args: string[]): Promise<{ code: number; said: string }> {
  const env = { ...process.env, ...(existsSync(CHECKPOINTS) && { TUNESMITH_CACHE: path.join(CHECKPOINTS, 'cache') }) };
  const child = spawn(process.execPath, [CLI_FILE, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const [from, to] of [[child.stdout, process.stdout] as const, [child.stderr, process.stderr] as const])
    from.setEncoding('utf8').on('data', (text: string) => {
      to.write(text);
      said = (said + text).slice(-LONGEST_FAILURE);
    });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 143, said }));
  });
}

/** The output that becomes the model: of the given cell, or the only `bundle` of the run. */
function resultOf(folder: string, cell: string | undefined): string {
  const all = globSync(`.tunesmith/outputs/*/${cell ?? '**'}/bundle`, { cwd: folder }).sort();
  // The folder of a target has a bundle within.
  const found = all.filter((one) => !all.some((other) => one.startsWith(`${other}/`)));
  if (found.length === 1) return path.join(folder, found[0]!);
  throw new StepError(
    found.length === 0
      ? `the pipeline has made no \`bundle\`${cell === undefined ? '' : ` in the cell ${cell}`}`
      : `the pipeline has made ${found.length} bundles`,
    found.length === 0 ? 'Add the step deploy.' : 'Choose a cell with the hyperparameter tunesmith_output.',
  );
}
