/**
 * The SavedModel of a training: variables for weights, moments and gradients. One call adds the gradients of a part of a batch to
 * their variables, another applies them, so that the optimizer exists once for all shapes.
 */

import type { Free } from '../dynamic-axes.ts';
import type { DType } from '../graph.ts';
import type { AdamWOptions, Precision, TrainingOptions } from '../runtime.ts';
import { named, type Specs, type TracedGradient, type TrainingGraph } from '../trace.ts';
import { GraphBuilder, GraphEmitter, segmentSum } from './emit.ts';
import { type Binding, TensorflowSession } from './session.ts';

export interface TrainingModel {
  session: TensorflowSession;
  /** By the key of their shapes. */
  buckets: Map<string, Bucket>;
  /** What to feed, by weight, and what to fetch then. */
  loads: Record<Loaded, Map<string, string>>;
  loaded: string;
  /** What to fetch, by weight. */
  reads: Record<Loaded, Map<string, string>>;
}

type Loaded = 'weight' | 'm' | 'v';

/** For inputs that one graph can take. */
export interface Traced {
  traced: TrainingGraph;
  free: Free | undefined;
}

/** The graph for one such shape. Fetching one of `set`, `setShare` and `addShare` gives the loss, and stores the gradients. */
export interface Bucket {
  /** Node by input of the program. */
  inputs: Map<string, string>;
  set: string;
  setShare: string;
  addShare: string;
  share: string;
  /** Nodes to fetch for the program's scalars besides the loss, by name. */
  terms: Map<string, string>;
  /** Fed with the offsets of the masks in their tapes; undefined without dropout. */
  offsets: string | undefined;
  masks: { name: string; ordinal: number; rate: number; place: number }[];
  traced: Traced;
  update: Update;
}

/** The optimizer for the weights that have a gradient. */
export interface Update {
  norm: string;
  apply: string;
}

/** Fed to an update: Adam's learning rate and epsilon, bias-corrected, the rate of the decay, and the clipping factor. */
export const [RATE, EPSILON, DECAY, SCALE] = ['rate', 'epsilon', 'decay', 'scale'] as const;

/** The node that feeds the tape of masks of a rate. */
export const tapeName = (rate: number): string => `tape_${rate}`;

/** There is no other optimizer here. */
type AdamWTraining = TrainingOptions & { optimizer: AdamWOptions };

export function trainingModel(
  binding: Binding,
  weights: Specs,
  traces: ReadonlyMap<string, Traced>,
  options: AdamWTraining,
  precision: Precision,
): TrainingModel {
  const writer = new Writer(weights, options, precision);
  const buckets = new Map([...traces].map(([key, trace]) => [key, writer.bucket(trace)]));
  return { buckets, ...writer.state(), session: new TensorflowSession(binding, writer.savedModel()) };
}

class Writer {
  readonly #builder = new GraphBuilder();
  readonly #variables = new Map<string, string>();
  readonly #reads = new Map<string, string>();
  readonly #tapes = new Map<number, string>();
  readonly #updates = new Map<string, Update>();
  #buckets = 0;

  constructor(
    private readonly weights: Specs,
    private readonly options: AdamWTraining,
    private readonly precision: Precision,
  ) {
    for (const name of [RATE, EPSILON, DECAY, SCALE]) this.#builder.placeholder(name, 'float32', []);
  }

  savedModel(): Uint8Array {
    return this.#builder.savedModel();
  }

  /** Restores and saves the state of a checkpoint. */
  state(): Pick<TrainingModel, 'loads' | 'loaded' | 'reads'> {
    const loads: TrainingModel['loads'] = { weight: new Map(), m: new Map(), v: new Map() };
    const reads: TrainingModel['reads'] = { weight: new Map(), m: new Map(), v: new Map() };
    const assigned: string[] = [];
    for (const [name, { dtype, shape }] of Object.entries(this.weights)) {
      for (const kind of this.options.weight(name) ? (['weight', 'm', 'v'] as const) : (['weight'] as const)) {
        const value = this.#builder.placeholder(`load${assigned.length}`, dtype, shape);
        loads[kind].set(name, value);
        reads[kind].set(name, this.#read(name, kind));
        assigned.push(this.#assign('AssignVariableOp', name, kind, value));
      }
    }
    return { loads, reads, loaded: this.#after(this.#builder.scalar(1), assigned, 'loaded') };
  }

  bucket(traced: Traced): Bucket {
    const { graph, gradients, masks, terms } = traced.traced;
    const b = this.#builder;
    const emitter = new GraphEmitter(b, graph, traced.free, this.precision);
    const prefix = `b${this.#buckets++}`;
    const rates = new Map(masks.map(({ name, rate }, ordinal) => [name, { rate, ordinal }]));
    const bucket = { inputs: new Map<string, string>(), masks: [] as Bucket['masks'] };
    const dropped = [...graph.inputs.keys()].filter((name) => rates.has(name)).length;
    const offsets = dropped > 0 ? b.placeholder(`${prefix}_offsets`, 'int32', [dropped]) : undefined;
    for (const [name, value] of graph.inputs) {
      if (name.startsWith(INPUT)) {
        bucket.inputs.set(name.slice(INPUT.length), emitter.placeholder(`${prefix}_input${bucket.inputs.size}`, value));
      } else if (name.startsWith(WEIGHT)) emitter.given(value, this.#read(name.slice(WEIGHT.length), 'weight'));
    }
    // After the inputs, whose lengths determine the sizes of the masks.
    for (const [name, value] of graph.inputs) {
      const mask = rates.get(name);
      if (!mask) continue;
      const place = bucket.masks.length;
      bucket.masks.push({ ...mask, name, place });
      emitter.given(value, this.#mask(mask.rate, offsets!, place, emitter.size(value), emitter.shape(value)));
    }
    emitter.emit();
    const loss = emitter.name(graph.outputs.get(named.output('loss'))!);
    const share = b.placeholder(`${prefix}_share`, 'float32', []);
    const put: Record<'set' | 'setShare' | 'addShare', string[]> = { set: [], setShare: [], addShare: [] };
    for (const [name, gradient] of gradients) {
      const whole = this.#gradient(name, gradient, emitter);
      const part = b.op('Mul', [whole, share]);
      put.set.push(this.#assign('AssignVariableOp', name, 'gradient', whole));
      put.setShare.push(this.#assign('AssignVariableOp', name, 'gradient', part));
      put.addShare.push(this.#assign('AssignAddVariableOp', name, 'gradient', part));
    }
    return {
      ...bucket,
      traced,
      terms: new Map(terms.map((name) => [name, b.op('Identity', [emitter.name(graph.outputs.get(named.output(name))!)], 'float32')])),
      share,
      offsets,
      set: this.#after(loss, put.set, `${prefix}_set`),
      setShare: this.#after(loss, put.setShare, `${prefix}_set_share`),
      addShare: this.#after(loss, put.addShare, `${prefix}_add_share`),
      update: this.#update([...gradients.keys()]),
    };
  }

  /** A mask: a slice of the tape from its offset on. */
  #mask(rate: number, offsets: string, place: number, size: string, shape: string): string {
    const b = this.#builder;
    const types = { Index: { type: 'int32' as const } };
    const start = b.node('Slice', [offsets, b.ints([place]), b.ints([1])], { T: { type: 'int32' }, ...types });
    const cut = b.node('Slice', [this.#tape(rate), start, size], { T: { type: 'float32' }, ...types });
    return b.node('Reshape', [cut, shape], { T: { type: 'float32' }, Tshape: { type: 'int32' } });
  }

  #tape(rate: number): string {
    const known = this.#tapes.get(rate);
    if (known) return known;
    const b = this.#builder;
    const name = tapeName(rate);
    const variable = this.#handle(name, 'float32', undefined);
    const given = b.placeholder(name, 'float32', undefined);
    const assigned = b.node('AssignVariableOp', [variable, given], { dtype: { type: 'float32' } });
    this.#after(b.scalar(1), [assigned], `${name}_loaded`);
    const read = b.node('ReadVariableOp', [variable], { dtype: { type: 'float32' } });
    this.#tapes.set(rate, read);
    return read;
  }

  #gradient(name: string, { dense, rows }: TracedGradient, emitter: GraphEmitter): string {
    const count = this.#builder.scalar(this.weights[name]!.shape[0]!, 'int32');
    const sums = rows.map(({ ids, values }) => segmentSum(this.#builder, emitter.name(values), emitter.name(ids), count));
    if (dense) sums.unshift(emitter.name(dense));
    return sums.reduce((sum, term) => this.#builder.op('AddV2', [sum, term]));
  }

  #update(names: string[]): Update {
    const key = names.join('\n');
    const known = this.#updates.get(key);
    if (known) return known;
    const b = this.#builder;
    const { beta1, beta2 } = this.options.optimizer;
    const suffix = this.#updates.size;
    const halves: string[] = [];
    const applied: string[] = [];
    for (const name of names) {
      const { learningRateFactor, weightDecay } = this.options.weight(name)!;
      const gradient = this.#read(name, 'gradient');
      halves.push(b.op('L2Loss', [gradient]));
      const decayed = weightDecay > 0 ? [`^${this.#decay(name, learningRateFactor * weightDecay)}`] : [];
      const handles = (['weight', 'm', 'v'] as const).map((kind) => this.#variable(name, kind));
      const rate = learningRateFactor === 1 ? RATE : b.op('Mul', [RATE, b.scalar(learningRateFactor)]);
      // Powers of 0 disable its own bias correction.
      const numbers = [b.scalar(0), b.scalar(0), rate, b.scalar(beta1), b.scalar(beta2), EPSILON];
      const inputs = [...handles, ...numbers, b.op('Mul', [gradient, SCALE]), ...decayed];
      applied.push(b.op('ResourceApplyAdam', inputs));
    }
    const half = b.node('AddN', halves, { N: { int: halves.length }, T: { type: 'float32' } });
    const norm = b.op('Sqrt', [b.op('Mul', [half, b.scalar(2)])], 'float32', `norm${suffix}`);
    const update = { norm, apply: this.#after(b.scalar(1), applied, `apply${suffix}`) };
    this.#updates.set(key, update);
    return update;
  }

  /** weight ← weight · (1 − learning rate · factor) */
  #decay(name: string, factor: number): string {
    const b = this.#builder;
    const kept = b.op('Sub', [b.scalar(1), b.op('Mul', [DECAY, b.scalar(factor)])]);
    return this.#assign('AssignVariableOp', name, 'weight', b.op('Mul', [this.#read(name, 'weight'), kept]));
  }

  #assign(op: string, name: string, kind: Kind, value: string): string {
    return this.#builder.node(op, [this.#variable(name, kind), value], { dtype: { type: this.weights[name]!.dtype } });
  }

  #read(name: string, kind: Kind): string {
    const key = `${kind} ${name}`;
    const read =
      this.#reads.get(key) ??
      this.#builder.node('ReadVariableOp', [this.#variable(name, kind)], { dtype: { type: this.weights[name]!.dtype } });
    this.#reads.set(key, read);
    return read;
  }

  #variable(name: string, kind: Kind): string {
    const key = `${kind} ${name}`;
    const { dtype, shape } = this.weights[name]!;
    const variable = this.#variables.get(key) ?? this.#handle(key, dtype, shape);
    this.#variables.set(key, variable);
    return variable;
  }

  #handle(name: string, dtype: DType, shape: number[] | undefined): string {
    const named = { shared_name: { text: name }, container: { text: '' } };
    return this.#builder.node('VarHandleOp', [], { dtype: { type: dtype }, shape: { shape }, ...named });
  }

  /** A node with the value of another, once all of `before` have run. */
  #after(value: string, before: string[], name: string): string {
    return this.#builder.op('Identity', [value, ...before.map((node) => `^${node}`)], 'float32', name);
  }
}

type Kind = Loaded | 'gradient';

const WEIGHT = named.weight('');
const INPUT = named.input('');
