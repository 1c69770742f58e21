import { defineStep } from '../../engine/step.ts';

export default defineStep({
  name: 'select',
  version: 2,
  description: 'Picks, of the cells of a matrix, the one with the best metric.',
  options: {
    maximize: { type: 'string', description: 'The metric of which more is better; a field inside another is written a.b.' },
    minimize: { type: 'string', description: 'The metric of which less is better.' },
  },
  optional: ['maximize', 'minimize'],
  aliases: {
    metric_for_best_model: 'maximize',
    metric: 'maximize',
    max: 'maximize',
    higher_is_better: 'maximize',
    min: 'minimize',
    loss: 'minimize',
    lower_is_better: 'minimize',
    metrics: 'from',
    candidates: 'from',
    model: 'pick',
    models: 'pick',
  },
  inputs: {
    from: { kind: 'file', many: true, description: 'Metrics of the candidates: `${{ steps.evaluate[*].metrics }}`.' },
    pick: { kind: 'any', many: true, description: 'What one of is picked: `${{ steps.train[*].model }}`.' },
  },
  outputs: {
    pick: { kind: 'any', description: 'A copy of what was picked.' },
    choice: { kind: 'file', description: 'The best cell, its metrics, those that tie with it, and all candidates, as JSON.' },
  },
  check({ maximize, minimize }) {
    if (maximize !== undefined && minimize !== undefined)
      return [{ option: 'minimize', message: 'maximize and minimize exclude each other' }];
    if (maximize === undefined && minimize === undefined) return [{ option: '', message: 'select needs either maximize or minimize' }];
    return [];
  },
  async run(context) {
    const { select } = await import('./select.ts');
    await select(context);
  },
});
