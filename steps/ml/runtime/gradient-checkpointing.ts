/**
 * Gradient checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174): the forward pass keeps only the values
 * between layers; those within a layer are recomputed when its gradients need them. A step takes a third longer, and
 * its memory grows with the activations of one layer, not of all.
 *
 * It is done on the traced graph, so a model only marks the values between its layers (`betweenLayers` in ops.ts),
 * and dropout, adapters and everything else are included: a mask is an input, and is the same both times.
 */

import type { Node, Value } from './graph.ts';

/** A value between two layers, and the gradient of the loss with respect to it. */
export interface Mark {
  value: Value;
  /** How many nodes were recorded when the value was marked, and when its gradient was. */
  at: number;
  gradient?: Value;
  gradientAt?: number;
}

/** The nodes in their order, with those of each layer repeated before their gradients. `marks` in the order of the layers. */
export function recompute(nodes: readonly Node[], marks: readonly Mark[]): Node[] {
  const again = new Map<Value, { value: Value; from: number }>();
  const inserted = new Map<number, Node[]>();
  for (const [i, { value: begin, at }] of marks.entries()) {
    const end = marks[i + 1];
    if (end?.gradientAt === undefined) continue; // the last layer's gradients follow immediately
    const own = new Map([[begin, gate(begin, end.gradient!)]]);
    const copies: Node[] = [];
    for (const node of nodes.slice(at, end.at)) {
      if (!node.inputs.some((value) => own.has(value))) continue; // depends only on weights, so other layers may use it too
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

/** The node on copies of its inputs if `own` has some; its outputs are added to `own`. */
function copy({ kernel, inputs, attributes, outputs }: Node, own: Map<Value, Value>): Node {
  const node: Node = { kernel, inputs: inputs.map((value) => own.get(value) ?? value), attributes, outputs: [] };
  node.outputs = outputs.map(({ shape, dtype }) => ({ shape, dtype, from: node }));
  for (const [i, value] of outputs.entries()) own.set(value, node.outputs[i]!);
  return node;
}

/**
 * `value` + 0 · an element of `gradient`: it is available only after the gradient, so that it is not computed early and kept, and
 * it is another value, so that it is not merged with the first computation.
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

/** The nodes of a gate, in their order. */
function gateNodes(gated: Value): Node[] {
  const add = gated.from as Node;
  const multiply = add.inputs[1]!.from as Node;
  const reshape = multiply.inputs[0]!.from as Node;
  return [reshape.inputs[0]!.from as Node, reshape, multiply, add];
}
