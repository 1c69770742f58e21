/**
 * A process that trains small models for a few steps and reports the speed of this machine to its parent (calibration.ts). It is a
 * process of its own because a training has one too, whose start and whose memory are measured with it.
 */

import { openRuntime } from '../ml/device/open.ts';
import type { ConfigFile } from '../ml/models/config.ts';
import { random } from '../ml/models/random.ts';
import type { HostTensors, Runtime } from '../ml/runtime/runtime.ts';
import { architectureOf, axesOf, type BatchShape, inputsOfShape, TRAINING, type Workload, workloadOf } from './workload.ts';

/** What the parent gets. */
export interface Measured {
  runtime: Pick<Runtime, 'name' | 'description' | 'device'>;
  /** Seconds from the start of the process until the runtime is open. */
  startup: number;
  probes: ProbeResult[];
}

export interface ProbeResult {
  workload: Workload;
  /** Of the first step, which compiles the graph, and the median of the others. */
  first: number;
  seconds: number;
  /** The peak memory of the process until now, in bytes. */
  peak: number;
}

/** The training of each probe is dominated by another kind of work, in the order of `KINDS`. The first takes little memory of its own. */
const PROBES: { config: ConfigFile; shape: BatchShape }[] = [
  { config: bert(16, 1, { num_hidden_layers: 4 }), shape: { sequences: 1, length: 8, targetLength: 0 } },
  { config: bert(64, 8, { num_hidden_layers: 2 }), shape: { sequences: 16, length: 256, targetLength: 0 } },
  { config: bert(768, 12, { num_hidden_layers: 2 }), shape: { sequences: 4, length: 128, targetLength: 0 } },
  { config: bert(64, 1, { num_hidden_layers: 1, vocab_size: 200_000 }), shape: { sequences: 1, length: 16, targetLength: 0 } },
];

function bert(hidden_size: number, num_attention_heads: number, more: object): ConfigFile {
  return { model_type: 'bert', hidden_size, num_attention_heads, intermediate_size: 4 * hidden_size, vocab_size: 1000, ...more };
}

async function measure(threads: number): Promise<Measured> {
  const runtime = await openRuntime('auto', { threads });
  const startup = (Date.now() - performance.timeOrigin) / 1000;
  const probes: ProbeResult[] = [];
  for (const { config, shape } of PROBES) probes.push(await measureProbe(runtime, config, shape));
  const { name, description, device } = runtime;
  return { runtime: { name, description, device }, startup, probes };
}

async function measureProbe(runtime: Runtime, config: ConfigFile, shape: BatchShape): Promise<ProbeResult> {
  const { program, parameters, family, config: full } = architectureOf(config, 'text-classification');
  const uniform = random('calibration', 0);
  const weights: HostTensors = Object.fromEntries(
    Object.entries(parameters).map(([name, { shape, start }]) => {
      const size = shape.reduce((product, n) => product * n, 1);
      const data = start === 'ones' ? new Float32Array(size).fill(1) : Float32Array.from({ length: size }, () => 0.04 * (uniform() - 0.5));
      return [name, { dtype: 'float32' as const, shape: [...shape], data }];
    }),
  );
  const training = runtime.training(program, weights, { ...TRAINING, axes: axesOf('text-classification') });
  const inputs = inputsOfShape('text-classification', family.typed(full), shape);
  const times: number[] = [];
  const begin = performance.now();
  while (times.length < LEAST_STEPS || (times.length < MOST_STEPS && performance.now() - begin < 1000 * PROBE_SECONDS)) {
    const start = performance.now();
    await training.step([{ inputs, share: 1 }], { seed: 0, epoch: 1, step: times.length, learningRate: 1e-5 });
    times.push((performance.now() - start) / 1000);
  }
  await training.dispose();
  const workload = workloadOf(config, 'text-classification', shape);
  return { workload, first: times[0]!, seconds: median(times.slice(2)), peak: 1024 * process.resourceUsage().maxRSS };
}

const median = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

const LEAST_STEPS = 6;
const MOST_STEPS = 40;
const PROBE_SECONDS = 1;

process.once('disconnect', () => process.exit());
process.send!(await measure(Number(process.argv[2])), () => process.exit());
