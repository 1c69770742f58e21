/** The names of all metrics, whatever the task. */
import { METRICS as answers } from './answers.ts';
import { METRICS as classification } from './classification.ts';
import { METRICS as entities } from './entities.ts';
import { METRICS as generated } from './generated.ts';
import { METRICS as multiLabel } from './multi-label.ts';
import { METRICS as regression } from './regression.ts';

/** Of a language model: the exponential of the loss, and the share of tokens, hidden ones or next ones, that were guessed. */
export const LANGUAGE_METRICS = ['perplexity', 'accuracy'];

export const METRIC_NAMES = [
  ...new Set(
    [classification, multiLabel, regression, entities, answers, generated]
      .flatMap((metrics) => Object.keys(metrics))
      .concat(LANGUAGE_METRICS),
  ),
];

/** Metrics for which the smaller value is the better one. */
export const SMALLER_IS_BETTER = ['loss', 'log_loss', 'ece', 'hamming_loss', 'mse', 'rmse', 'mae', 'perplexity'];
