/** The option `intervals`: confidence intervals of the metrics of evaluate and baseline. */

import type { OptionSchemas } from '../../../engine/contract/step.ts';
import type { BootstrapOptions } from './bootstrap.ts';

/** `further`: properties that only one step has. */
export const intervalsOption = <const P extends OptionSchemas>(further: P) =>
  ({
    anyOf: [
      {
        type: 'object',
        properties: {
          resamples: {
            type: 'integer',
            minimum: 100,
            maximum: 1_000_000,
            description: 'The number of bootstrap samples. Default: 1000.',
          },
          level: {
            type: 'number',
            minimum: 0.5,
            exclusiveMaximum: 1,
            description: 'The confidence level. Default: 0.95.',
          },
          method: {
            enum: ['bca', 'percentile'],
            description: '`bca` corrects the percentiles of the samples for bias and skewness. Default: `bca`.',
          },
          stratify: {
            type: 'boolean',
            description:
              'Whether each sample has as many examples of each label as the split, for text-classification with one label. Default: true.',
          },
          seed: { type: 'integer', minimum: 0, description: 'The random seed of the samples. Default: 0.' },
          ...further,
        },
        additionalProperties: false,
      },
      { const: false },
    ],
    description:
      'Bootstrap confidence intervals of all metrics: the metrics are computed again on samples of the examples. `false` turns them off.',
  }) as const;

/** The option as given. */
export type IntervalsGiven = false | (Partial<BootstrapOptions> & { stratify?: boolean; group?: string }) | undefined;

const DEFAULTS: BootstrapOptions = { resamples: 1000, level: 0.95, method: 'bca', seed: 0 };

/** With the defaults; undefined if there are to be no intervals. */
export function bootstrapOptions(given: IntervalsGiven): (BootstrapOptions & { stratify: boolean }) | undefined {
  if (given === false) return undefined;
  const { group: _, stratify = true, ...own } = given ?? {};
  return { ...DEFAULTS, ...own, stratify };
}
