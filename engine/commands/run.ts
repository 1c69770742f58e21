/** `tunesmith run FILE`: what is fresh is kept, what is stored is restored, the rest is run. */
import { constants } from 'node:os';
import { readPipeline } from '../pipeline/read.ts';
import { openReporter, reporterKind } from '../report/reporter.ts';
import { interruptions } from './interruptions.ts';
import { isYaml, type PipelineOptions, usage } from './pipeline-file.ts';

interface Options extends PipelineOptions {
  only?: string[];
  from?: string[];
  until?: string[];
  force?: boolean;
  locked?: boolean;
  dryRun?: boolean;
  jobs?: number;
  onFailure: 'stop' | 'continue' | 'kill';
  json?: boolean;
  plain?: boolean;
}

export default async function run(words: string[], options: Options): Promise<number> {
  const { dryRun = false, json, plain, param, params, force, locked, jobs, onFailure, ...selection } = options;
  const file = onlyFile(words, selection);
  const pipeline = await readPipeline(file, { set: param, paramsFile: params, readOnly: dryRun });
  if (dryRun) {
    const [{ planPipeline }, { printPlan }] = await Promise.all([import('../run/plan.ts'), import('./status.ts')]);
    await printPlan(pipeline, await planPipeline(pipeline, { ...selection, force }), json);
    return 0;
  }
  const [{ runPipeline }, reporter] = await Promise.all([import('../run/run.ts'), openReporter(reporterKind({ json, plain }), pipeline)]);
  const interrupted = interruptions(() => reporter.stopping());
  try {
    const summary = await runPipeline(
      pipeline,
      { ...selection, force, locked, jobs, onFailure, figures: !json, signal: interrupted.signal },
      reporter.emit,
    );
    if (interrupted.by) return 128 + constants.signals[interrupted.by];
    return summary.failed > 0 ? 1 : 0;
  } finally {
    interrupted.release();
    reporter.close();
  }
}

/** `run --only train spam.yaml`: a list takes every word that follows it, so the file may have got into one. */
function onlyFile(words: string[], selection: Pick<Options, 'only' | 'from' | 'until'>): string {
  const files = [...words];
  for (const flag of ['only', 'from', 'until'] as const) {
    const list = selection[flag];
    if (!list) continue;
    files.push(...list.filter(isYaml));
    selection[flag] = list.filter((word) => !isYaml(word));
    if (selection[flag].length === 0)
      throw usage(`--${flag} names no cell`, `For example --${flag} train, or --${flag} 'train[learning_rate=0.001]'.`);
  }
  if (files.length === 1) return files[0]!;
  if (files.length === 0) throw usage('run needs the pipeline file', 'For example: tunesmith run spam.yaml');
  throw usage(
    `run takes one pipeline, not ${files.length}: ${files.join(' ')}`,
    'Run one after the other. Cells are selected with --only, --from and --until.',
  );
}
