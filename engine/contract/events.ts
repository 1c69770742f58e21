/** The events of a run. The engine emits them; only reporters print. */
import type { Frame, Place } from './errors.ts';
import type { MetricDirection } from './step.ts';

export type CellState = 'fresh' | 'restored' | 'ran' | 'failed' | 'skipped' | 'canceled';

export type PlannedState = 'fresh' | 'restore' | 'run' | 'depends';

export type RunEvent =
  | { type: 'start'; run: number; pipeline: string; cells: string[] }
  /** A cell waits for another run that executes the same cell. */
  | { type: 'waiting'; cell: string; pid: number }
  | { type: 'running'; cell: string; why: string; attempt: number; log: string }
  | { type: 'log'; cell: string; stream: 'stdout' | 'stderr' | 'step'; line: string }
  | { type: 'progress'; cell: string; done: number; total?: number; values: Record<string, number | string> }
  | { type: 'metric'; cell: string; name: string; value: number; step?: number; better?: MetricDirection; low?: number; high?: number }
  | { type: 'result'; cell: string; message: string }
  /** Something that a user should not miss, such as a kept file or a changed input. Repeated below the summary. */
  | { type: 'notice'; cell?: string; message: string }
  | { type: 'cell'; cell: string; state: CellState; seconds: number; why?: string; failure?: Failure }
  | Summary
  | { type: 'plan'; cells: Record<string, { state: PlannedState; why: string }> }
  /** Between two runs of --watch. */
  | { type: 'watching'; files: number }
  | { type: 'changed'; path: string }
  | { type: 'error'; file: string; line: number; column: number; message: string };

/** The end of a run, with the number of cells in each state. */
export interface Summary extends Record<CellState, number> {
  type: 'summary';
  pipeline: string;
  cells: Record<string, CellState>;
  seconds: number;
}

export interface Failure {
  /** One line: "exited with 3", "killed: out of memory", "timed out after 2h", a step's own message. */
  message: string;
  /** Position of the option that caused the failure, if the step reports it. */
  place?: Place;
  hint?: string;
  /** Stack of an error that a custom step threw, innermost frame first. */
  stack?: Frame[];
  /** The last 20 lines of its log. */
  tail: string[];
  log: string;
}

export type Emit = (event: RunEvent) => void;
