/** Vertex AI of Google Cloud: an image with a custom container's routes. */
import { dockerfile, dockerignore, entryOf } from './container.ts';
import type { ServedBundle, Target } from './target.ts';

export const vertex: Target = {
  contents: 'serving',
  files: (served) => ({
    Dockerfile: dockerfile(served.packed, { command: entryOf('vertex'), port: 8080, portVariable: 'AIP_HTTP_PORT' }),
    '.dockerignore': dockerignore(served.packed),
    'README.md': readme(served),
  }),
};

const readme = ({ title, name, records }: ServedBundle): string => `# ${title} on Vertex AI

This folder builds an image of a custom container. It needs no source code.

Vertex AI sets the port and the paths: AIP_HTTP_PORT, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE. A request is
\`{"instances": […], "parameters": {…}}\`, and the answer \`{"predictions": […]}\`. Only models that write text have parameters.

The image contains the bundle. AIP_STORAGE_URI is not read: nothing is fetched from \`gs://\`. So upload the model without
\`--artifact-uri\`.

\`\`\`sh
export REGION=europe-west3 PROJECT=$(gcloud config get-value project)
export IMAGE=$REGION-docker.pkg.dev/$PROJECT/models/${name}:1
gcloud artifacts repositories create models --repository-format=docker --location=$REGION
gcloud auth configure-docker $REGION-docker.pkg.dev
docker build --platform linux/amd64 --tag $IMAGE . && docker push $IMAGE

gcloud ai models upload --region=$REGION --display-name=${name} --container-image-uri=$IMAGE \\
  --container-ports=8080 --container-health-route=/health --container-predict-route=/predict
gcloud ai endpoints create --region=$REGION --display-name=${name}
export MODEL=$(gcloud ai models list --region=$REGION --filter=displayName=${name} --format='value(name)' | head -n 1)
export ENDPOINT=$(gcloud ai endpoints list --region=$REGION --filter=displayName=${name} --format='value(name)' | head -n 1)
gcloud ai endpoints deploy-model $ENDPOINT --region=$REGION --model=$MODEL --display-name=${name} \\
  --machine-type=n2-standard-4 --min-replica-count=1 --max-replica-count=3 --traffic-split=0=100
echo '${JSON.stringify({ instances: records })}' > request.json
gcloud ai endpoints predict $ENDPOINT --region=$REGION --json-request=request.json
\`\`\`

To try it before:

\`\`\`sh
docker run --rm --publish 127.0.0.1:8080:8080 --env AIP_HTTP_PORT=8080 --env AIP_HEALTH_ROUTE=/health --env AIP_PREDICT_ROUTE=/predict $IMAGE
curl http://127.0.0.1:8080/predict -H 'content-type: application/json' -d '${JSON.stringify({ instances: records })}'
\`\`\`

The same image runs on Cloud Run: \`gcloud run deploy ${name} --image=$IMAGE --region=$REGION --port=8080\`. Its path is then
/vertex/predict.
`;
