/** Adapters of each family of encoders, against PEFT. */
import { describe } from 'vitest';
import { loraTests } from '../../steps/ml/models/lora-golden.ts';

const ENCODERS = ['roberta', 'distilbert', 'albert', 'xlm-roberta', 'camembert', 'electra', 'modernbert'];

describe.each(ENCODERS)('%s', (family) => loraTests(family, family, 'text-classification'));
