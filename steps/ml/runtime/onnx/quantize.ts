/**
 * Makes an ONNX model smaller by storing its weights in 8 or 16 bits.
 *
 * `int8` is dynamic quantization, as in onnxruntime's `quantize_dynamic`: a product with a weight becomes
 *
 *   DynamicQuantizeLinear → MatMulInteger → Cast → Mul (scale of the input × scale of each column) → Add (bias)
 *
 * onnxruntime fuses this into one op. An embedding is looked up in int8 and scaled by the scale of its row.
 *
 * `fp16` stores each weight in float16 and casts it to float32, which onnxruntime does once, when it opens the model.
 */

import { halvesOf, toFloat16 } from '../half-precision.ts';
import { elementType, type OnnxModel, type OnnxNode, type OnnxTensor } from '../protobuf.ts';
import type { Quantization } from '../quantization.ts';

/** `weights`: the names of the initializers that are weights; other constants keep their type. */
export function quantizeOnnx(model: OnnxModel, quantization: Quantization, weights: ReadonlySet<string>): OnnxModel {
  return quantization === 'int8' ? new Int8(model, weights).model() : inHalves(model, weights);
}

function inHalves(model: OnnxModel, weights: ReadonlySet<string>): OnnxModel {
  const casts: OnnxNode[] = [];
  const initializers = model.initializers.map((tensor): OnnxTensor => {
    if (!weights.has(tensor.name)) return tensor;
    const name = `${tensor.name}_fp16`;
    casts.push(nodeOf('Cast', [name], [tensor.name], { to: elementType('float32') }));
    return { ...tensor, name, dtype: 'float16', bytes: bytesOf(halvesOf(floatsOf(tensor), toFloat16)) };
  });
  return { ...model, initializers, nodes: [...casts, ...model.nodes] };
}

/** A weight in int8. */
interface Stored {
  /** The names of the values, and of a scale for each column of the product or each row of the table. */
  values: string;
  scales: string;
}

class Int8 {
  readonly #weights: Map<string, OnnxTensor>;
  readonly #nodes: OnnxNode[] = [];
  readonly #added = new Map<string, OnnxTensor>();
  /** The matrices that are transposed weights. */
  readonly #transposed = new Map<string, string>();
  /** Weights that embeddings look up; a product may use them too. */
  readonly #tables: ReadonlySet<string>;
  /** The names of each quantized activation. */
  readonly #activations = new Map<string, { values: string; scale: string; zero: string }>();

  constructor(
    private readonly given: OnnxModel,
    weights: ReadonlySet<string>,
  ) {
    const matrices = given.initializers.filter(({ name, shape }) => weights.has(name) && shape.length === 2);
    this.#weights = new Map(matrices.map((tensor) => [tensor.name, tensor]));
    for (const { op, inputs, outputs } of given.nodes)
      if (op === 'Transpose' && this.#weights.has(inputs[0]!)) this.#transposed.set(outputs[0]!, inputs[0]!);
    this.#tables = this.#findTables();
  }

  model(): OnnxModel {
    for (const node of this.given.nodes) if (!this.#lookup(node) && !this.#product(node)) this.#nodes.push(node);
    const read = new Set(this.#nodes.flatMap(({ inputs }) => inputs));
    const nodes = this.#nodes.filter(({ outputs }) => !this.#transposed.has(outputs[0]!) || read.has(outputs[0]!));
    const used = new Set(nodes.flatMap(({ inputs }) => inputs));
    const initializers = [...this.given.initializers, ...this.#added.values()].filter(({ name }) => used.has(name));
    return { ...this.given, nodes, initializers };
  }

  /** The weights that are read only by lookups and products. Small ones stay as they are: they save nothing. */
  #findTables(): Set<string> {
    const tables = new Set<string>();
    const others = new Set<string>();
    for (const node of this.given.nodes) {
      const factor = this.#factor(node);
      for (const [i, input] of node.inputs.entries()) {
        const weight = this.#weights.get(input);
        if (!weight) continue;
        if (node.op === 'Gather' && i === 0 && !node.attributes.axis && weight.shape[0]! >= FEWEST_ROWS) tables.add(input);
        else if (!(factor && i === 1) && !this.#transposed.has(node.outputs[0]!)) others.add(input);
      }
    }
    return new Set([...tables].filter((name) => !others.has(name)));
  }

  /** The weight that is the second factor of a product, and whether it is stored as [out, in]. */
  #factor({ op, inputs, attributes }: OnnxNode): { weight: string; turned: boolean } | undefined {
    if (op !== 'MatMul' && !(op === 'Gemm' && !attributes.transA)) return undefined;
    const name = inputs[1]!;
    const weight = this.#transposed.get(name) ?? name;
    if (!this.#weights.has(weight)) return undefined;
    return { weight, turned: this.#transposed.has(name) !== (attributes.transB === 1) };
  }

  #lookup(node: OnnxNode): boolean {
    const [table, ids] = node.inputs as [string, string];
    if (node.op !== 'Gather' || !this.#tables.has(table)) return false;
    const { values, scales } = this.#byRows(table);
    const [output] = node.outputs as [string];
    this.#add('Gather', [values, ids], [`${output}_int8`], { axis: 0 });
    this.#add('Cast', [`${output}_int8`], [`${output}_integers`], { to: elementType('float32') });
    this.#add('Gather', [scales, ids], [`${output}_scales`], { axis: 0 });
    this.#add('Unsqueeze', [`${output}_scales`, this.#integers(-1)], [`${output}_scales_of_rows`]);
    this.#add('Mul', [`${output}_integers`, `${output}_scales_of_rows`], [output]);
    return true;
  }

  #product(node: OnnxNode): boolean {
    const factor = this.#factor(node);
    if (!factor) return false;
    const { weight, turned } = factor;
    const [output] = node.outputs as [string];
    const bias = node.inputs[2];
    const { values, scales } = turned && this.#tables.has(weight) ? this.#turnedTable(weight) : this.#byColumns(weight, turned);
    const activation = this.#activation(node.inputs[0]!);
    this.#add('MatMulInteger', [activation.values, values, activation.zero], [`${output}_int32`]);
    this.#add('Cast', [`${output}_int32`], [`${output}_integers`], { to: elementType('float32') });
    this.#add('Mul', [activation.scale, scales], [`${output}_scales`]);
    this.#add('Mul', [`${output}_integers`, `${output}_scales`], [bias === undefined ? output : `${output}_product`]);
    if (bias !== undefined) this.#add('Add', [`${output}_product`, bias], [output]);
    return true;
  }

  #activation(name: string) {
    let known = this.#activations.get(name);
    if (!known) {
      known = { values: `${name}_uint8`, scale: `${name}_scale`, zero: `${name}_zero` };
      this.#add('DynamicQuantizeLinear', [name], [known.values, known.scale, known.zero]);
      this.#activations.set(name, known);
    }
    return known;
  }

  /** [in, out], with a scale for each column. */
  #byColumns(weight: string, turned: boolean): Stored {
    const stored = { values: `${weight}_int8`, scales: `${weight}_scales` };
    if (this.#added.has(stored.values)) return stored;
    const tensor = this.#weights.get(weight)!;
    const [rows, columns] = turned ? (tensor.shape.toReversed() as [number, number]) : (tensor.shape as [number, number]);
    const floats = floatsOf(tensor);
    const columnwise = turned ? floats : transposed(floats, rows, columns);
    const { values, scales } = quantizeVectors(columnwise, columns, rows);
    this.#put(stored.values, 'int8', [rows, columns], transposed(values, columns, rows));
    this.#put(stored.scales, 'float32', [columns], scales);
    return stored;
  }

  /** As it is, with a scale for each row. */
  #byRows(table: string): Stored {
    const stored = { values: `${table}_rows`, scales: `${table}_row_scales` };
    if (this.#added.has(stored.values)) return stored;
    const tensor = this.#weights.get(table)!;
    const [rows, width] = tensor.shape as [number, number];
    const { values, scales } = quantizeVectors(floatsOf(tensor), rows, width);
    this.#put(stored.values, 'int8', [rows, width], values);
    this.#put(stored.scales, 'float32', [rows], scales);
    return stored;
  }

  /** A table that is also a factor is in the file once. onnxruntime transposes it when it opens the model. */
  #turnedTable(table: string): Stored {
    const { values, scales } = this.#byRows(table);
    const turned = `${values}_transposed`;
    if (!this.#nodes.some(({ outputs }) => outputs[0] === turned)) this.#add('Transpose', [values], [turned], { perm: [1, 0] });
    return { values: turned, scales };
  }

  #add(op: string, inputs: string[], outputs: string[], attributes: OnnxNode['attributes'] = {}): void {
    this.#nodes.push(nodeOf(op, inputs, outputs, attributes));
  }

  #put(name: string, dtype: OnnxTensor['dtype'], shape: number[], data: ArrayBufferView): void {
    this.#added.set(name, { name, dtype, shape, bytes: bytesOf(data) });
  }

  #integers(value: number): string {
    const name = `int64 ${value}`;
    this.#put(name, 'int64', [1], BigInt64Array.of(BigInt(value)));
    return name;
  }
}

/** Fewer rows, such as those of token types, are not worth it. */
const FEWEST_ROWS = 16;

/**
 * Vectors of numbers as int8, each with its own scale. It is the largest number / 127, as in `quantize_dynamic`, unless
 * a product could then be wrong: x86 CPUs without VNNI add the products of two neighbours in 16 bits, which overflow if
 * the two weights, times inputs of up to 255, exceed 32,767. Their sum is therefore at most 128 (127 before rounding).
 * So all CPUs compute the same. Weights of 7 bits (`reduce_range`) would avoid it, too, but with twice the rounding errors;
 * these are about 1.3 times as large.
 */
function quantizeVectors(numbers: Float32Array, count: number, width: number): { values: Int8Array; scales: Float32Array } {
  const values = new Int8Array(numbers.length);
  const scales = new Float32Array(count);
  for (let vector = 0; vector < count; vector++) {
    const start = vector * width;
    let largest = 0;
    for (let i = 0; i < width; i += 2) {
      const one = numbers[start + i]!;
      const other = i + 1 < width ? numbers[start + i + 1]! : 0;
      largest = Math.max(largest, Math.abs(one), Math.abs(other), Math.abs(one + other));
    }
    const scale = Math.fround(largest / 127);
    // A vector of zeros has any scale.
    scales[vector] = scale > 0 ? scale : 1;
    for (let i = start; i < start + width; i++) values[i] = Math.round(numbers[i]! / scales[vector]!);
  }
  return { values, scales };
}

function transposed<T extends Float32Array | Int8Array>(values: T, rows: number, columns: number): T {
  const turned = values.slice() as T;
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column]!;
  return turned;
}

const nodeOf = (op: string, inputs: string[], outputs: string[], attributes: OnnxNode['attributes'] = {}): OnnxNode => ({
  op,
  domain: '',
  inputs,
  outputs,
  attributes,
});

const floatsOf = ({ bytes }: OnnxTensor): Float32Array => new Float32Array(bytes.slice().buffer);

const bytesOf = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
