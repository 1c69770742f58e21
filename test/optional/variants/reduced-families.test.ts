/** Models of each family that keep only the tokens of some texts. */
import { describe } from 'vitest';
import { keepsTokens } from '../../steps/reduce/kept-tokens.ts';

const FAMILIES = ['electra', 'distilbert', 'roberta', 'camembert', 'xlm-roberta', 'albert', 'modernbert', 't5'];

describe.each(FAMILIES)('%s', keepsTokens);
