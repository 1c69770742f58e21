/** The metric that `runs` shows for a run: the one that its `select` step used, otherwise the first one of its `evaluate` step. */
import { compareBytes } from '../pipeline/cell-name.ts';
import type { Json } from '../step.ts';
import type { Components } from './fingerprint.ts';
import { type Records, reading } from './records.ts';

export interface ChosenMetric {
  name: string;
  value: number;
  /** The cell that reported it. */
  cell: string;
}

/** The metrics by number of the run. `asked`: a metric of any cell. `better`: compares two values, if the direction is known. */
export function chosenMetrics(
  root: string,
  runs: readonly number[],
  asked: string | undefined,
  better: (name: string) => 'up' | 'down' | undefined,
): Map<number, ChosenMetric> {
  const chosen = new Map<number, ChosenMetric>();
  reading(root, (records) => {
    const judged = new Map<string, string | undefined>();
    const withFigures = records.cellsWithFigures();
    for (const run of runs) {
      const metric = chosenOf(records, run, asked, { judged, withFigures, better });
      if (metric) chosen.set(run, metric);
    }
  });
  return chosen;
}

interface Known {
  /** A cache by fingerprint, because runs share many results. */
  judged: Map<string, string | undefined>;
  withFigures: Set<string>;
  better(name: string): 'up' | 'down' | undefined;
}

function chosenOf(
  records: Records,
  run: number,
  asked: string | undefined,
  { judged, withFigures, better }: Known,
): ChosenMetric | undefined {
  const found: ChosenMetric[] = [];
  for (const [cell, fingerprint] of [...records.fingerprints(run)].sort(([a], [b]) => compareBytes(a, b))) {
    if (!withFigures.has(cell)) continue;
    if (!judged.has(fingerprint)) judged.set(fingerprint, asked ?? judgedBy(records.components(fingerprint)));
    const name = judged.get(fingerprint);
    if (name === undefined) continue;
    const figure = records.figures(cell, fingerprint).find((figure) => figure.name === name.replace(SELECT, ''));
    if (figure && Number.isFinite(figure.value)) found.push({ name, value: figure.value, cell });
  }
  const selected = found.filter(({ name }) => name.startsWith(SELECT)).at(-1);
  if (selected) return { ...selected, name: selected.name.slice(SELECT.length) };
  const way = found.length > 1 ? better(found[0]!.name) : undefined;
  if (!way) return found.at(-1);
  return found.reduce((best, one) => ((way === 'up' ? one.value > best.value : one.value < best.value) ? one : best));
}

/** Marks the metric of a `select` step, which takes precedence over others. */
const SELECT = 'select ';

function judgedBy({ step, options = {} }: Partial<Components> = {}): string | undefined {
  if (step === 'select') return named(options.maximize ?? options.minimize, SELECT);
  if (step === 'evaluate') return named(Array.isArray(options.metrics) ? options.metrics[0] : undefined);
  return undefined;
}

const named = (value: Json | undefined, mark = ''): string | undefined => (typeof value === 'string' ? mark + value : undefined);
