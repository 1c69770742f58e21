/** The generating model families with gradient checkpointing, against transformers. */
import { describe } from 'vitest';
import { MODELS, trainingTests } from '../../steps/ml/models/generating-golden.ts';
import { COMPILED } from '../../steps/ml/runtime/options.ts';

describe.each(MODELS)('%s', (name) => trainingTests(name, [[COMPILED, true]]));
