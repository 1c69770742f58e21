/** deploy: packs a trained model into a bundle for `tunesmith serve` and `tunesmith predict`. */
import { aliasesOf, declareStep, type OptionProblem } from '../../engine/contract/step.ts';
import { nameProblem, type PushNames } from '../ml/hub/names.ts';
import { QUANTIZATIONS } from '../ml/runtime/quantization.ts';
import { tokensAhead } from '../ml/tasks/metrics.ts';

const UNUSED_TOKENS = {
  option: 'tokens',
  message: '`tokens` has no effect without `quantize`',
  hint: 'Set `quantize`, or remove `tokens`.',
};

const MISSING_TOKENS = {
  option: 'max_loss',
  message: '`max_loss` needs the input `tokens`',
  hint: 'Give the `tokens` of the tokenize step that the model was trained on.',
};

const TOKEN = 'The token is no option: set the environment variable HF_TOKEN, or log in with `hf auth login`.';

export default declareStep({
  name: 'deploy',
  version: 7,
  description: 'Packs a trained model for inference: weights, tokenizer, preprocessing, a model card and an ONNX model.',
  options: {
    target: {
      type: 'string',
      enum: ['bundle', 'http', 'sagemaker', 'vertex', 'azureml', 'fastapi', 'hub'],
      default: 'bundle',
      description:
        'What to make. `bundle` is a folder with everything that `tunesmith serve` and `tunesmith predict` need. The others contain this folder as `bundle/`, and what builds an image of it: `http` for Docker and Kubernetes, `sagemaker` for Amazon SageMaker, `vertex` for Vertex AI, `azureml` for Azure Machine Learning, `fastapi` for a server in Python. `hub` is `bundle`, which is also pushed to the Hugging Face hub.',
    },
    hub: {
      type: 'object',
      properties: {
        repo: { type: 'string', description: 'The model repository, `owner/name`. It is created if there is none.' },
        private: {
          type: 'boolean',
          description:
            'Creates the repository as a private one, and refuses a public one. Default: the setting of the owner, which is mostly public.',
        },
        branch: { type: 'string', description: 'The branch to commit to. It is created if there is none. Default: `main`.' },
        tag: { type: 'string', description: 'A tag for the commit. A tag that exists is never moved.' },
        message: { type: 'string', minLength: 1, description: 'The message of the commit.' },
        delete_others: {
          type: 'boolean',
          description: 'Deletes the files of the repository that the bundle does not have. Default: they stay.',
        },
      },
      required: ['repo'],
      additionalProperties: false,
      description:
        'For `target: hub`: where to push, such as `{ repo: acme/spam, tag: v1.0 }`. The token and the address of the hub come from the environment: HF_TOKEN and HF_ENDPOINT.',
    },
    name: {
      type: 'string',
      minLength: 1,
      description: 'The name of the model, for the model card and the server. Default: the task, such as `question-answering`.',
    },
    license: {
      type: 'string',
      pattern: '^[a-z0-9][a-z0-9.-]*$',
      description: 'The licence of the model, as on the Hugging Face hub, e.g. `apache-2.0`.',
    },
    quantize: {
      enum: QUANTIZATIONS,
      description:
        'Stores the weights in fewer bits. `int8` makes the ONNX model a quarter of its size and faster: products are computed in 8 bits (dynamic quantization, a scale for each column). `fp16` halves it, and computes in float32 as before. Give `tokens`, so that the change on the validation split is measured.',
    },
    max_loss: {
      type: 'number',
      minimum: 0,
      description:
        'The most that the main metric of the task (accuracy, for most) may get worse on the validation split through `quantize`, such as 0.005. Otherwise the step fails.',
    },
  },
  optional: ['hub', 'name', 'license', 'quantize', 'max_loss'],
  aliases: aliasesOf(
    {
      license: 'licence',
      name: 'model_name model_id',
      target: 'format type',
      model: 'model_path checkpoint',
      quantize: 'quantization quantized quantise dtype precision',
      max_loss: 'max_accuracy_loss max_drop tolerance',
      tokens: 'eval_dataset tokenized_dataset validation',
      'hub.repo': 'hub.repo_id hub.repository hub.name hub.model_id',
      'hub.branch': 'hub.revision',
      'hub.message': 'hub.commit_message',
    },
    {
      ...Object.fromEntries(['hub_model_id', 'repo_id', 'repo'].map((name) => [name, 'hub: { repo: … }'])),
      hub_private_repo: 'hub: { private: … }',
      push_to_hub: 'Use `target: hub`, and `hub: { repo: owner/name }`.',
      ...Object.fromEntries(['hub_token', 'token', 'hub.token'].map((name) => [name, TOKEN])),
    },
  ),
  inputs: {
    model: { kind: 'folder', description: 'A trained model.' },
    metrics: {
      kind: 'file',
      optional: true,
      description: 'The metrics of `evaluate` or the choice of `select`, which the model card shows.',
    },
    tokens: {
      kind: 'folder',
      optional: true,
      description: 'For `quantize`: the tokens of a tokenize step. Their validation split shows what it changes.',
    },
    data: {
      kind: 'folder',
      optional: true,
      description: 'The data that the tokens were made of. Only a model with thresholds for the groups of a column needs them.',
    },
  },
  outputs: {
    bundle: { kind: 'folder', description: 'A model folder that is ready to serve.' },
  },
  libraries: ['@tensorflow/tfjs', 'onnxruntime-node'],
  threads: 'all',
  writesToHub: { option: 'target', value: 'hub' },
  check: ({ target, hub, quantize, max_loss }) => [
    ...(max_loss !== undefined && quantize === undefined
      ? [{ option: 'max_loss', message: '`max_loss` applies only to `quantize`', hint: 'Set `quantize`, or remove `max_loss`.' }]
      : []),
    ...hubProblems(target, hub),
  ],
  foresee: {
    reads: ['tokens'],
    check({ quantize, max_loss }, { tokens }, paths) {
      const given = tokens !== undefined || paths.tokens !== undefined;
      if (quantize === undefined) return given ? [UNUSED_TOKENS] : [];
      if (!given) return max_loss === undefined ? [] : [MISSING_TOKENS];
      const ahead = tokensAhead(tokens);
      if (!ahead) return [];
      if (ahead.splits && !ahead.splits.includes('validation'))
        return [{ option: 'tokens', message: 'the tokens have no split "validation"', hint: 'Make it with `ratios` of split.' }];
      return [];
    },
  },
});

function hubProblems(target: string, hub: PushNames | undefined): OptionProblem[] {
  if (target === 'hub' && !hub)
    return [{ option: 'target', message: '`target: hub` needs `hub`', hint: 'Write `hub: { repo: owner/name }`.' }];
  if (target !== 'hub' && hub)
    return [{ option: 'hub', message: '`hub` applies only to `target: hub`', hint: 'Set `target: hub`, or remove `hub`.' }];
  const problem = hub && nameProblem(hub);
  return problem ? [{ ...problem, option: `hub.${problem.option}` }] : [];
}
