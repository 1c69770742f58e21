/** Learning curves: the loss of training and validation, the validation metrics, and the step at which validation was best. */

import { thinned } from '../ml/metrics/curves.ts';
import { type HistoryLine, isMeasurement } from '../ml/metrics/tensorboard.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { HistoryFile } from './artifacts.ts';
import { type Block, count, note, type Section, shown } from './document.ts';
import { lineChart, type Series } from './plots.ts';

export function trainingSection(histories: readonly HistoryFile[]): Section | undefined {
  const usable = histories.filter(({ lines }) => lines.length > 0);
  if (usable.length === 0) return undefined;
  const detailed = usable.slice(0, MOST);
  const blocks = detailed.flatMap((history, i) => [
    ...(usable.length > 1 ? [{ kind: 'heading', text: history.name } as Block] : []),
    ...curves(history, i),
  ]);
  if (usable.length > detailed.length)
    blocks.push(
      note(
        `The curves of ${count(usable.length - detailed.length)} more trainings are left out: ${usable
          .slice(MOST, MOST + 10)
          .map(({ name }) => name)
          .join(', ')}${usable.length > MOST + 10 ? ' …' : ''}.`,
      ),
    );
  return { id: 'training', title: 'Training', blocks };
}

/** Trainings with curves of their own. */
const MOST = 4;

function curves({ lines }: HistoryFile, index: number): Block[] {
  const measured = lines.filter(isMeasurement);
  const losses: Series[] = [
    series(
      'training loss',
      lines.filter((line) => !isMeasurement(line)),
      'loss',
    ),
    series('mean training loss', measured, 'train_loss', true),
    series('validation loss', measured, 'validation_loss', true),
  ].filter(({ points }) => points.length > 0);
  const names = [...new Set(measured.flatMap((line) => Object.keys(line)))].filter(
    (name) => name.startsWith(PREFIX) && name !== 'validation_loss' && measured.some((line) => Math.abs(line[name] ?? 2) <= 1),
  );
  const metrics = names.map((name) => series(name.slice(PREFIX.length), measured, name, true)).filter(({ points }) => points.length > 0);
  const drawn = metrics.slice(0, MOST_CURVES);
  const lowest = lowestLoss(measured);
  const blocks: Block[] = [];
  if (losses.length > 0)
    blocks.push({
      kind: 'picture',
      name: `loss-${index + 1}`,
      title: 'Loss by optimizer step',
      description: `${losses.map(({ name, points }) => `${name} from ${shown(points[0]![1])} to ${shown(points.at(-1)![1])}`).join('; ')}.${measured.length > 0 ? ' The mean training loss is that of the steps since the evaluation before.' : ''}${lowest ? ` The validation loss was lowest at step ${count(lowest.step)}.` : ''}`,
      svg: lineChart(losses, { x: 'optimizer step', y: 'loss' }),
      ...(measured.length > 0 && { table: evaluations(measured) }),
    });
  if (metrics.length > 0)
    blocks.push({
      kind: 'picture',
      name: `validation-${index + 1}`,
      title: 'Validation metrics by optimizer step',
      description: `${drawn.map(({ name, points }) => `${name} from ${shown(points[0]![1])} to ${shown(points.at(-1)![1])}`).join('; ')}.${metrics.length > drawn.length ? ` The table of the evaluations has ${metrics.length - drawn.length} more metrics.` : ''}`,
      svg: lineChart(drawn, { x: 'optimizer step', y: 'metric' }),
    });
  if (lowest && measured.length > 1) {
    const last = measured.at(-1)!;
    // Absent if the two losses are not comparable, because options such as class_weights change only the training loss.
    const gap =
      last.generalization_gap === undefined
        ? ''
        : ` At the end, the generalization gap (validation loss − training loss) is ${shown(last.generalization_gap)}.`;
    const rose = last !== lowest && last.validation_loss! > lowest.validation_loss!;
    blocks.push(
      note(
        `The validation loss was lowest at step ${count(lowest.step)} (${shown(lowest.validation_loss)})${rose ? ` and rose to ${shown(last.validation_loss)} until step ${count(last.step)}` : ''}.${gap}`,
        rose ? 'bad' : undefined,
      ),
    );
  }
  return blocks;
}

const PREFIX = 'validation_';

/** More curves in one picture cannot be told apart. */
const MOST_CURVES = 6;

function series(name: string, lines: readonly HistoryLine[], field: string, dots = false): Series {
  const points = lines.flatMap((line): [number, number][] =>
    typeof line[field] === 'number' && Number.isFinite(line[field]) ? [[line.step, line[field]]] : [],
  );
  return { name, points: thinned(points, 240), ...(dots && points.length <= 60 && { dots }) };
}

function lowestLoss(measured: readonly HistoryLine[]): HistoryLine | undefined {
  const finite = measured.filter(({ validation_loss: loss }) => loss !== undefined && Number.isFinite(loss));
  return finite.length === 0 ? undefined : finite.reduce((best, line) => (line.validation_loss! < best.validation_loss! ? line : best));
}

function evaluations(measured: readonly HistoryLine[]) {
  const names = [...new Set(measured.flatMap((line) => Object.keys(line)))].filter(
    (name) => name === 'train_loss' || name.startsWith(PREFIX),
  );
  const best = new Map(
    names
      .filter((name) => name.startsWith(PREFIX))
      .map((name) => {
        const values = measured.map((line) => line[name] ?? Number.NaN).filter(Number.isFinite);
        return [name, betterOf(name.slice(PREFIX.length)) === 'lower' ? Math.min(...values) : Math.max(...values)];
      }),
  );
  const shownLines = thinned(measured, 60);
  return {
    kind: 'table' as const,
    caption: 'Evaluations during training; the best values are marked',
    header: ['step', 'epoch', ...names],
    rows: shownLines.map((line) => [
      count(line.step),
      shown(line.epoch),
      ...names.map((name) => {
        const is = measured.length > 1 && line[name] === best.get(name);
        return { text: `${shown(line[name])}${is ? ' *' : ''}`, ...(is && { tone: 'good' as const }) };
      }),
    ]),
    numeric: [0, 1, ...names.map((_, i) => i + 2)],
    ...(measured.length > shownLines.length && { more: `${count(measured.length - shownLines.length)} evaluations are left out` }),
  };
}
