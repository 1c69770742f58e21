/** A server in Python: FastAPI, onnxruntime and tokenizers answer as `tunesmith serve` does. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { MARKUP } from '../../ml/data/html.ts';
import { isGenerating, outputsOf } from '../../ml/models/config.ts';
import { maskToken, openTokenizer } from '../../ml/models/tokenizer.ts';
import { cleaningOf } from '../../ml/tasks/encoder.ts';
import { defaultStride } from '../../ml/tasks/question-answering.ts';
import { taskKind } from '../../ml/tasks/registry.ts';
import type { ServedBundle, Target } from './target.ts';

export const fastapi: Target = {
  check(bundle) {
    const hint = 'Use the target http, which answers with tunesmith itself.';
    if (isGenerating(bundle.task))
      throw new StepError(
        `the target fastapi answers with one run of an ONNX model, and a model for ${bundle.task} generates text token by token`,
        hint,
        ['target'],
      );
    if (bundle.preprocessing.some((step) => 'decode' in step))
      throw new StepError(
        'the target fastapi cannot decode mails, as the training data of this model were decoded',
        `${hint} Or collect the texts of the mails without \`decode\`.`,
        ['target'],
      );
    if (typeof bundle.model !== 'string') throw new StepError('the target fastapi needs an ONNX model in the bundle', hint, ['target']);
  },

  async files(served) {
    const sources = PYTHON.map(async (name) => [name, await readFile(path.join(import.meta.dirname, 'fastapi', name), 'utf8')]);
    return {
      Dockerfile: DOCKERFILE,
      '.dockerignore': `${['*', ...['bundle', ...FILES].map((name) => `!${name}`)].join('\n')}\n`,
      ...Object.fromEntries(await Promise.all(sources)),
      'markup.json': inLines(MARKUP),
      'settings.json': inLines(await settingsOf(served)),
      'README.md': readme(served),
    };
  },
};

const PYTHON = ['app.py', 'model.py', 'answers.py', 'cleaning.py', 'requirements.txt'];
const FILES = [...PYTHON, 'markup.json', 'settings.json'];

const inLines = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** All that the answers depend on besides the files of the model. */
async function settingsOf({ bundle, records }: ServedBundle): Promise<object> {
  const { name, task, folder, model, labels, problem, fields, encoding, calibration, padTokenId, quantization, vocabulary = 0 } = bundle;
  const texts = fields.filter(({ group }) => !group);
  const cleaning = texts.map((field) => [
    field.name,
    cleaningOf(field.name, bundle).flatMap((step) => ('clean' in step ? [step.clean] : [])),
  ]);
  const tokenizer = await openTokenizer(folder, {});
  return {
    name,
    task,
    example: records[0],
    model: path.relative(folder, model as string),
    outputs: outputsOf(task),
    // In int8, the answer would depend on the other texts of a batch.
    batch: quantization === 'int8' ? 1 : 16,
    // Numbers for each token.
    width: task === 'masked-lm' ? vocabulary : 1,
    labels,
    problem,
    fields,
    max_length: encoding.max_length,
    truncation: encoding.truncation ?? 'longest_first',
    truncation_side: tokenizer.truncationSide,
    stride: task === 'question-answering' ? (encoding.stride ?? defaultStride(encoding.max_length!)) : 0,
    templates: tokenizer.templates,
    pad_token_id: padTokenId,
    mask: (taskKind(task).masks && (await maskToken(folder, tokenizer))) ?? null,
    cleaning: Object.fromEntries(cleaning),
    calibration: calibration ?? null,
  };
}

/** Exact: it is in the list of Docker's official images, library/python of github.com/docker-library/official-images. */
const BASE = 'python:3.13.9-slim-bookworm';

const DOCKERFILE = `# Installs the packages. Nothing of this stage but its result is in the image.
FROM ${BASE} AS install
WORKDIR /app
COPY requirements.txt ./
RUN python3 -m pip install --no-cache-dir --no-compile --target packages --requirement requirements.txt

# The image: Python itself without pip, the packages and the bundle. The base has no compiler.
FROM ${BASE}
RUN rm -rf /usr/local/lib/python3.13/site-packages /usr/local/lib/python3.13/ensurepip /usr/local/bin/pip /usr/local/bin/pip3 /usr/local/bin/pip3.13
WORKDIR /app
COPY --from=install /app/packages ./packages
COPY ${FILES.filter((name) => name !== 'requirements.txt').join(' ')} ./
COPY bundle ./bundle
ENV PYTHONPATH=/app/packages PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
# A user without rights and without a name.
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \\
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
CMD ["python3", "-m", "uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8080", "--timeout-graceful-shutdown", "25"]
`;

const readme = ({ title, name, records }: ServedBundle): string => `# ${title} with FastAPI

This folder serves the model in \`bundle/\` with FastAPI, onnxruntime and tokenizers. It answers as \`tunesmith serve\` does.

| file | content |
|---|---|
| \`app.py\` | the routes: limits, checks and errors |
| \`cleaning.py\` | cleans a text as the training texts were cleaned |
| \`model.py\` | tokens, windows of long texts, and runs of the ONNX model |
| \`answers.py\` | from outputs to answers: labels, thresholds, entities, spans, masks |
| \`settings.json\` | the values of this model for all of these |

\`\`\`sh
python3 -m venv venv && venv/bin/pip install --requirement requirements.txt
venv/bin/python -m uvicorn app:app --port 8080
curl http://127.0.0.1:8080/predict -H 'content-type: application/json' -d '${JSON.stringify({ inputs: records })}'
\`\`\`

In a container:

\`\`\`sh
docker build --tag ${name}:1 .
docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:8080:8080 ${name}:1
\`\`\`

\`GET /health\` is answered with 200 once the model is ready, and \`/docs\` describes the API. Errors are problem documents (RFC 9457).
The server uses all cores of its container; the variable THREADS sets their number.
`;
