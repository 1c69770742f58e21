/** What `better_than` compares. */

import type { ContextOf } from '../../engine/contract/step.ts';
import type { Bundle } from '../ml/answering/bundle.ts';
import type { Database } from '../ml/data/database.ts';
import type { Preprocessing } from '../ml/data/preprocessing.ts';
import type { ScoredAnswers, Scorer } from '../ml/tasks/scorer.ts';
import type { ComparedRows } from './rows.ts';
import type step from './step.ts';

/** What both models are compared on. */
export interface Compared extends ScoredAnswers {
  metric: string;
  rows: ComparedRows;
  database: Database;
  /** For tasks whose metrics depend on the tokenizer. */
  sameTokenizer: boolean;
  context: ContextOf<typeof step>;
}

/** A model, and what it still has to do to the texts of the rows. */
export interface ModelOfRows {
  bundle: Bundle;
  /** For messages. */
  name: string;
  preprocessing: Preprocessing;
}

/** The metric of a model on some of the rows. */
export type ComparedFigures = Pick<Scorer, 'metrics' | 'why'>;
