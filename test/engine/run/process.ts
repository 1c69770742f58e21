/** An engine in its own process: `process.ts FILE`. Prints its events; SIGINT interrupts it. */
import { readPipeline } from '../../../engine/pipeline/index.ts';
import { runPipeline } from '../../../engine/run/run.ts';

const interrupted = new AbortController();
process.on('SIGINT', () => interrupted.abort());
const pipeline = await readPipeline(process.argv[2]!);
await runPipeline(pipeline, { jobs: 2, signal: interrupted.signal }, (event) => console.log(JSON.stringify(event)));
