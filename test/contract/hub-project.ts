/** A hub with a model, and a project that reads it. */
import { expect } from 'vitest';
import { type RepositoryFiles, startHub } from '../engine/fetch/hub.ts';
import { type Project, project } from '../rig.ts';

export const MODEL: RepositoryFiles = {
  'config.json': '{"model_type":"bert"}',
  'tokenizer.json': '{}',
  'vocab.txt': 'a\nb\n',
  'README.md': '# tiny\n',
  '.gitattributes': '*.bin lfs\n',
  'model.safetensors': 'weights '.repeat(100_000),
  'pytorch_model.bin': 'pickle',
  'onnx/model.onnx': 'onnx',
  'onnx/config.json': '{}',
  '1_Pooling/config.json': '{"mean":true}',
};

/** A pipeline that lists the files that a command receives. */
export function listing(address: string, more = ''): string {
  return `
steps:
  list:
    run: (cd \${{ inputs.model }} && find -L . -type f | sort) > \${{ outputs.list }}
    inputs: { model: "${address}" }
    outputs: { list: out/list.txt }${more}
`;
}

export async function fixture(yaml = listing('hf://owner/tiny')) {
  const hub = await startHub();
  const p = project({ 'p.yaml': yaml });
  Object.assign(p.env, neutral(p), { HF_ENDPOINT: hub.url });
  return { hub, p };
}

/** An environment without the settings of this machine. */
export function neutral(p: Project): Record<string, string | undefined> {
  const none = ['HF_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'];
  return { HF_HOME: p.path('hf'), ...Object.fromEntries(none.map((name) => [name, undefined])) };
}

export const BLOBS = 'hf/hub/models--owner--tiny/blobs';

/** The only failure of a run, with all details. */
export async function failureOf(p: Project): Promise<{ message: string; hint?: string }> {
  const { events, code } = await p.states('p.yaml');
  expect(code).toBe(1);
  const failures = events.flatMap(({ failure }) => failure ?? []);
  expect(failures).toHaveLength(1);
  return failures[0];
}
