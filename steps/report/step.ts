import { aliasesOf, declareStep } from '../../engine/contract/step.ts';
import { runtimeOptions } from '../ml/runtime/runtime.ts';

const many = (kind: 'file' | 'folder' | 'any', description: string) => ({ kind, many: true, optional: true, description }) as const;

export default declareStep({
  name: 'report',
  version: 3,
  description: 'Makes a report about models and data: one HTML file, or Markdown with SVG files.',
  options: {
    title: { type: 'string', minLength: 1, description: 'The title of the report. Default: `Report`.' },
    format: {
      enum: ['html', 'md'],
      default: 'html',
      description: '`html` writes report.html, which needs no other file and no network. `md` writes report.md and a folder of SVG files.',
    },
    examples: {
      type: 'integer',
      minimum: 0,
      maximum: 200,
      default: 20,
      description:
        'Number of the worst mistakes to show, with the tokens that speak for and against the prediction. 0 shows no texts of the data.',
    },
    runtime: runtimeOptions.runtime,
  },
  optional: ['title'],
  aliases: aliasesOf({ examples: 'n_examples num_examples mistakes', format: 'output_format', title: 'name' }),
  inputs: {
    metrics: many('file', 'The metrics of evaluate steps. One without a matrix is shown in detail, otherwise the best one.'),
    predictions: many('folder', 'The predictions of the same evaluate steps: for curves, mistakes and generated texts.'),
    baselines: many('file', 'The metrics of baseline steps.'),
    history: many('file', 'The histories of train steps: learning curves.'),
    model: many(
      'folder',
      'The models that were evaluated: for token attributions of text classifiers, and texts that causal language models write.',
    ),
    data: many('folder', 'Tables of collect, clean and split steps: their cards, and texts that the predictions do not contain.'),
    checks: many('any', 'The reports of check steps.'),
    behavior: many('any', 'The reports of behavior steps.'),
    calibration: many('file', 'The metrics of calibrate steps, or calibration.json of a model.'),
    verdict: many('file', 'The verdicts of require steps.'),
    samples: many('file', 'Texts that a model wrote: lines of text, or JSON lines as `tunesmith generate` prints them.'),
  },
  outputs: { report: { kind: 'folder', description: 'A folder with report.html, or with report.md and its pictures.' } },
  libraries: ['@observablehq/plot', 'linkedom', 'onnxruntime-node', '@tensorflow/tfjs', 'tokenizers'],
  threads: 'all',
});
