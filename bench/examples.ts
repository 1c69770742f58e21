/**
 * Makes the table of results of reviews, pairs, entities and qa in docs/pipelines.md. Runs each pipeline with three seeds, from
 * the pre-trained model and from random weights. Prints a Markdown table: the mean on the test split and its standard deviation.
 *
 * npm run bench:examples -- [--only reviews,qa] [--seeds 7,8,9]
 *
 * The seed decides the split, the weights of the head and the order of the rows. Cells that are up to date do not run again.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';

const METRICS: Record<string, string> = { reviews: 'macro_f1', pairs: 'accuracy', entities: 'f1', qa: 'exact_match' };

/** Learning rates for random weights. The one that is better on the validation split counts. */
const RANDOM_RATES = ['3e-4', '1e-3'];

const root = join(import.meta.dirname, '..');
const model = join(root, 'pipelines/models/tunesmith-small');

const { values: flags } = parseArgs({
  options: { only: { type: 'string', default: Object.keys(METRICS).join() }, seeds: { type: 'string', default: '7,8,9' } },
});
const seeds = flags.seeds.split(',');

/** The same model folder without weights: training starts from random ones. Its path stays the same, so that cells stay up to date. */
const weightless = join(root, 'bench/work/tunesmith-small-weightless');
cpSync(model, weightless, { recursive: true, filter: (file) => basename(file) !== 'model.safetensors' });

console.log(`| pipeline | metric | baselines | random weights | generic | fine-tuned |\n|${'---|'.repeat(6)}`);
for (const name of flags.only.split(',')) console.log(rowOf(name, METRICS[name]!));

function rowOf(name: string, metric: string): string {
  const runs = seeds.map((seed) => {
    run(name, seed);
    const { methods } = read(name, 'baseline/metrics');
    const baselines = Object.entries<any>(methods).map(([method, { metrics }]) => [method, metrics[metric] as number] as const);
    return { baselines, generic: tested(name, 'test_generic', metric), tuned: tested(name, 'test', metric) };
  });
  const random = RANDOM_RATES.map((rate) =>
    seeds.map((seed) => {
      run(name, seed, '-p', `base.model=${weightless}`, '-p', `base.learning_rate=${rate}`, '--until', 'test');
      return { validation: validated(name, metric), test: tested(name, 'test', metric) };
    }),
  ).reduce((best, other) => (mean(other.map((one) => one.validation)) > mean(best.map((one) => one.validation)) ? other : best));
  const baselines = runs[0]!.baselines.map(
    ([method], index) => `${method.replaceAll('_', ' ')} ${summary(runs.map((one) => one.baselines[index]![1]))}`,
  );
  const columns = [random.map((one) => one.test), runs.map((one) => one.generic), runs.map((one) => one.tuned)];
  return `| ${[name, metric, baselines.join(', '), ...columns.map(summary)].join(' | ')} |`;
}

function run(name: string, seed: string, ...args: string[]) {
  const command = [join(root, 'dist/engine/cli.js'), 'run', join(root, `pipelines/${name}.yaml`), '--plain', '-p', `seed=${seed}`, ...args];
  // The log goes to stderr, so that stdout is the table alone.
  execFileSync(process.execPath, command, { stdio: ['ignore', process.stderr, process.stderr] });
}

function text(name: string, output: string): string {
  return readFileSync(join(root, '.tunesmith/outputs', name, output), 'utf8');
}

function read(name: string, output: string) {
  return JSON.parse(text(name, output));
}

function tested(name: string, step: string, metric: string): number {
  return read(name, `${step}/metrics`).metrics[metric];
}

/** The metric on the validation split after the last epoch, which is the last line of the history. */
function validated(name: string, metric: string): number {
  return JSON.parse(text(name, 'train/history').trimEnd().split('\n').at(-1)!)[`validation_${metric}`];
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function summary(values: number[]): string {
  const center = mean(values);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
  return values.length > 1 ? `${center.toFixed(3)} ± ${deviation.toFixed(3)}` : center.toFixed(3);
}
