/** `tunesmith run [FILE]`: skips fresh cells, restores cells from the cache and runs the others. */

import { constants } from 'node:os';
import type { Pipeline } from '../contract/cell.ts';
import { usage } from '../contract/errors.ts';
import { readPipeline } from '../pipeline/index.ts';
import { openReporter, type Reporter } from '../report/reporter.ts';
import type { RunOptions } from '../run/run.ts';
import { type Interruptions, interruptions } from './exit-code.ts';
import { choosePipeline, isYaml, type PipelineOptions } from './pipeline-file.ts';

interface Options extends PipelineOptions, Omit<RunOptions, 'metrics' | 'signal'> {
  dryRun?: boolean;
  watch?: boolean;
  json?: boolean;
  plain?: boolean;
}

export default async function run(words: string[], options: Options): Promise<number> {
  const { dryRun, watch, json, param, params } = options;
  const file = await choosePipeline(onlyFile(words, options), { executes: true });
  if (dryRun) {
    const pipeline = await readPipeline(file, { set: param, paramsFile: params, readOnly: true });
    const [{ planPipeline }, { printPlan }] = await Promise.all([import('../run/plan.ts'), import('./status.ts')]);
    await printPlan(pipeline, await planPipeline(pipeline, options), json);
    return 0;
  }
  let reporter: Reporter | undefined;
  const interrupted = interruptions(() => reporter?.stopping());
  const once = async (begin?: (pipeline: Pipeline) => Promise<void>) => {
    try {
      const pipeline = await readPipeline(file, { set: param, paramsFile: params });
      await begin?.(pipeline);
      reporter = openReporter(options, pipeline);
      return await runOnce(pipeline, options, reporter, interrupted);
    } finally {
      reporter?.close();
      reporter = undefined;
    }
  };
  try {
    if (!watch) return await once();
    const watching = await import('./watch.ts');
    return await watching.watch({ file, param, params, json, interrupted, run: once });
  } finally {
    interrupted.release();
  }
}

async function runOnce(pipeline: Pipeline, options: Options, { emit }: Reporter, interrupted: Interruptions): Promise<number> {
  const { runPipeline } = await import('../run/run.ts');
  const summary = await runPipeline(pipeline, { ...options, metrics: !options.json, signal: interrupted.signal }, emit);
  if (interrupted.by) return 128 + constants.signals[interrupted.by];
  return summary.failed > 0 ? 1 : 0;
}

/** In `run --only train spam.yaml`, --only takes every argument that follows it, so the pipeline file may be among its cells. */
function onlyFile(words: string[], selection: Pick<Options, 'only' | 'from' | 'until'>): string | undefined {
  const files = [...words];
  for (const flag of ['only', 'from', 'until'] as const) {
    const list = selection[flag];
    if (!list) continue;
    files.push(...list.filter(isYaml));
    selection[flag] = list.filter((word) => !isYaml(word));
    if (selection[flag].length === 0)
      throw usage(`--${flag} names no cell`, `For example --${flag} train, or --${flag} 'train[learning_rate=0.001]'.`);
  }
  if (files.length < 2) return files[0];
  throw usage(
    `run takes one pipeline, not ${files.length}: ${files.join(' ')}`,
    'Run them one after the other. To select cells, use --only, --from and --until.',
  );
}
