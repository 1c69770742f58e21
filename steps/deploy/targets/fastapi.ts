/** A server in Python: FastAPI, onnxruntime and tokenizers answer as `tunesmith serve` does. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import type { Bundle } from '../../ml/answering/bundle.ts';
import { MARKUP } from '../../ml/data/html.ts';
import { truncationSide } from '../../ml/models/tokenizer.ts';
import { cleaningOf } from '../../ml/tasks/encoder.ts';
import type { ServedBundle, Target } from './target.ts';

export const fastapi: Target = {
  check(bundle) {
    const hint = 'Use the target http, which answers with tunesmith itself.';
    if (bundle.task !== 'text-classification')
      throw new StepError(`the target fastapi serves only text-classification, and this model is for ${bundle.task}`, hint, ['target']);
    if (bundle.preprocessing.some((step) => 'decode' in step))
      throw new StepError(
        'the target fastapi cannot decode mails, as the training data of this model were decoded',
        `${hint} Or collect the texts of the mails without \`decode\`.`,
        ['target'],
      );
    if (typeof bundle.model !== 'string') throw new StepError('the target fastapi needs an ONNX model in the bundle', hint, ['target']);
  },

  async files(served) {
    const source = (name: string) => readFile(path.join(import.meta.dirname, 'fastapi', name), 'utf8');
    return {
      Dockerfile: DOCKERFILE,
      '.dockerignore': `${['*', ...['bundle', ...FILES].map((name) => `!${name}`)].join('\n')}\n`,
      'app.py': await source('app.py'),
      'cleaning.py': await source('cleaning.py'),
      'requirements.txt': await source('requirements.txt'),
      'markup.json': inLines(MARKUP),
      'settings.json': inLines(await settingsOf(served.bundle)),
      'README.md': readme(served),
    };
  },
};

const FILES = ['app.py', 'cleaning.py', 'markup.json', 'settings.json', 'requirements.txt'];

const inLines = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** All that the answers depend on besides the files of the model. */
async function settingsOf(bundle: Bundle): Promise<object> {
  const { name, folder, model, labels, problem, fields, encoding, calibration, padTokenId, quantization } = bundle;
  const texts = fields.filter(({ group }) => !group);
  const cleaning = texts.map((field) => [
    field.name,
    cleaningOf(field.name, bundle).flatMap((step) => ('clean' in step ? [step.clean] : [])),
  ]);
  return {
    name,
    model: path.relative(folder, model as string),
    // In int8, the answer would depend on the other texts of a batch.
    batch: quantization === 'int8' ? 1 : 16,
    labels,
    problem,
    fields,
    max_length: encoding.max_length,
    truncation: encoding.truncation ?? 'longest_first',
    truncation_side: await truncationSide(folder),
    pad_token_id: padTokenId,
    cleaning: Object.fromEntries(cleaning),
    calibration: calibration ?? null,
  };
}

const DOCKERFILE = `# Installs the packages. Nothing of this stage but its result is in the image.
FROM python:3.13.9-slim-bookworm AS install
WORKDIR /app
COPY requirements.txt ./
RUN python3 -m pip install --no-cache-dir --no-compile --target packages --requirement requirements.txt

FROM python:3.13.9-slim-bookworm
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

\`app.py\` serves the model in \`bundle/\` with FastAPI, onnxruntime and tokenizers. \`settings.json\` and \`cleaning.py\` contain what
happens between a raw text and its scores: cleaning, truncation, calibration and thresholds. It answers as \`tunesmith serve\` does.

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

\`GET /health\` is answered with 200 once the model is ready, and \`/docs\` describes the API. The variable THREADS limits the cores.
`;
