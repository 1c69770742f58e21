/** The names of all metrics of all tasks. */
import { METRICS as answers } from './answers.ts';
import { METRICS as classification } from './classification.ts';
import { METRICS as entities } from './entities.ts';
import { METRICS as generated } from './generated.ts';
import { METRICS as multiLabel } from './multi-label.ts';
import { METRICS as regression } from './regression.ts';

/**
 * Metrics of language models: the exponential of the loss, and the share of tokens (masked ones or next ones) that
 * were predicted.
 */
export const LANGUAGE_METRICS = ['perplexity', 'accuracy'];

export const METRIC_NAMES = [
  ...new Set(
    [classification, multiLabel, regression, entities, answers, generated]
      .flatMap((metrics) => Object.keys(metrics))
      .concat(LANGUAGE_METRICS),
  ),
];

/** Metrics for which lower is better. */
export const SMALLER_IS_BETTER = ['loss', 'log_loss', 'ece', 'hamming_loss', 'mse', 'rmse', 'mae', 'perplexity'];
