/**
 * Gradient checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174): of the forward pass only what lies between two layers is
 * kept; what is within a layer is computed once more when its gradients need it. A step takes a third longer, and its memory grows
 * with one layer's activations, not with all layers'.
 *
 * It is done to the traced graph, so a model only marks what lies between its layers (`betweenLayers` in ops.ts), and dropout,
 * adapters and all else take part by themselves: a mask is an input, and is the same both times.
 */
import type { Node, Value } from './graph.ts';

/** What lies between two layers, and the gradient of the loss by it. */
export interface Mark {
  value: Value;
  /** How many nodes were recorded when it was marked, and when its gradient came by. */
  at: number;
  gradient?: Value;
  gradientAt?: number;
}

/** The nodes in their order, with those of each layer again, before their gradients. `marks` in the order of the layers. */
export function recompute(nodes: readonly Node[], marks: readonly Mark[]): Node[] {
  const again = new Map<Value, { value: Value; from: number }>();
  const inserted = new Map<number, Node[]>();
  for (const [i, { value: begin, at }] of marks.entries()) {
    const end = marks[i + 1];
    if (end?.gradientAt === undefined) continue; // the last layer's gradients come at once
    const own = new Map([[begin, gate(begin, end.gradient!)]]);
    const copies: Node[] = [];
    for (const node of nodes.slice(at, end.at)) {
      if (!node.inputs.some((value) => own.has(value))) continue; // of weights alone: other layers may use it, too
      copies.push(copy(node, own));
      for (const value of node.outputs) again.set(value, { value: own.get(value)!, from: end.gradientAt });
    }
    again.delete(end.value);
    inserted.set(end.gradientAt, [...gateNodes(own.get(begin)!), ...copies]);
  }
  return nodes.flatMap((node, i) => {
    node.inputs = node.inputs.map((value) => {
      const copied = again.get(value);
      return copied && i >= copied.from ? copied.value : value;
    });
    return [...(inserted.get(i) ?? []), node];
  });
}

/** The node on copies of its inputs where `own` has some, to which its outputs are added. */
function copy({ kernel, inputs, attributes, outputs }: Node, own: Map<Value, Value>): Node {
  const node: Node = { kernel, inputs: inputs.map((value) => own.get(value) ?? value), attributes, outputs: [] };
  node.outputs = outputs.map(({ shape, dtype }) => ({ shape, dtype, from: node }));
  for (const [i, value] of outputs.entries()) own.set(value, node.outputs[i]!);
  return node;
}

/**
 * `value`, but not before `gradient` is there: else it would be computed early, kept, and nothing won; and being another value, it is
 * not found to be what was computed before. It is value + 0 · an element of the gradient.
 */
function gate(value: Value, gradient: Value): Value {
  const { dtype } = gradient;
  const ones = gradient.shape.map(() => 1);
  const first = only({ kernel: 'Slice', inputs: [gradient], attributes: { begin: gradient.shape.map(() => 0), size: ones } }, ones, dtype);
  const scalar = only({ kernel: 'Reshape', inputs: [first], attributes: { shape: [] } }, [], dtype);
  const zero: Value = { shape: [], dtype, from: { data: 0 } };
  const nothing = only({ kernel: 'Multiply', inputs: [scalar, zero], attributes: {} }, [], dtype);
  return only({ kernel: 'Add', inputs: [value, nothing], attributes: {} }, value.shape, value.dtype);
}

function only(part: Omit<Node, 'outputs'>, shape: number[], dtype: Value['dtype']): Value {
  const node: Node = { ...part, outputs: [] };
  const value: Value = { shape, dtype, from: node };
  node.outputs = [value];
  return value;
}

/** Of a gate, in their order. */
function gateNodes(gated: Value): Node[] {
  const add = gated.from as Node;
  const multiply = add.inputs[1]!.from as Node;
  const reshape = multiply.inputs[0]!.from as Node;
  return [reshape.inputs[0]!.from as Node, reshape, multiply, add];
}
