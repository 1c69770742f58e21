/** Managed online endpoints of Azure Machine Learning: an image, and the YAML files of the endpoint and its deployment. */
import { dockerfile, dockerignore, entryOf } from './container.ts';
import type { ServedBundle, Target } from './target.ts';

const PORT = 5001;

export const azureml: Target = {
  contents: 'serving',
  files: (served) => ({
    Dockerfile: dockerfile(served.packed, { command: entryOf('azureml'), port: PORT, portVariable: 'PORT' }),
    '.dockerignore': dockerignore(served.packed),
    'endpoint.yaml': endpoint(served),
    'deployment.yaml': deployment(served),
    'request.json': `${JSON.stringify({ input_data: served.records })}\n`,
    'README.md': readme(served),
  }),
};

/** Names of endpoints have at most 32 characters, and those of a region differ. */
const nameOf = (name: string): string => (name.length < 3 ? `${name}-model` : name).slice(0, 32).replace(/-+$/, '');

const endpoint = ({ name }: ServedBundle): string => `$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json
name: ${nameOf(name)}
auth_mode: key
`;

const deployment = ({
  name,
}: ServedBundle): string => `$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: main
endpoint_name: ${nameOf(name)}
model:
  name: ${nameOf(name)}
  version: 1
  type: custom_model
  path: ./bundle
environment:
  name: ${nameOf(name)}
  version: 1
  image: REGISTRY.azurecr.io/${name}:1
  inference_config:
    liveness_route: { port: ${PORT}, path: /live }
    readiness_route: { port: ${PORT}, path: /ready }
    scoring_route: { port: ${PORT}, path: /score }
instance_type: Standard_F4s_v2
instance_count: 1
request_settings:
  request_timeout_ms: 60000
  max_concurrent_requests_per_instance: 64
liveness_probe: { initial_delay: 10, period: 10, timeout: 5, failure_threshold: 30 }
readiness_probe: { initial_delay: 10, period: 10, timeout: 5, failure_threshold: 30 }
`;

const readme = ({ title, name }: ServedBundle): string => `# ${title} on Azure Machine Learning

This folder builds an image for a managed online endpoint. It needs no source code.

| path | answer |
|---|---|
| \`POST /score\` | \`{"input_data": […]}\`, or a table as MLflow writes it, → a list of predictions |
| \`GET /live\`, \`GET /ready\` | 200 once the model is ready |

The server uses the bundle below AZUREML_MODEL_DIR, where Azure mounts the registered model, and otherwise the one of the image.
Put the name of your container registry in place of REGISTRY.

\`\`\`sh
az configure --defaults group=GROUP workspace=WORKSPACE
az acr login --name REGISTRY
docker build --platform linux/amd64 --tag REGISTRY.azurecr.io/${name}:1 . && docker push REGISTRY.azurecr.io/${name}:1
sed -i 's/REGISTRY/myregistry/' deployment.yaml

az ml online-endpoint create --file endpoint.yaml
az ml online-deployment create --file deployment.yaml --all-traffic
az ml online-endpoint invoke --name ${nameOf(name)} --request-file request.json
az ml online-deployment get-logs --name main --endpoint-name ${nameOf(name)}
\`\`\`

To try it before:

\`\`\`sh
docker run --rm --publish 127.0.0.1:${PORT}:${PORT} REGISTRY.azurecr.io/${name}:1
curl http://127.0.0.1:${PORT}/score -H 'content-type: application/json' -d @request.json
\`\`\`
`;
