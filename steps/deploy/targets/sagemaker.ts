/** Amazon SageMaker: an image whose commands are `serve` and `train`. */
import { dockerfile, dockerignore, entryOf } from './container.ts';
import type { ServedBundle, Target } from './target.ts';

export const sagemaker: Target = {
  contents: 'everything',
  files: (served) => ({
    Dockerfile: dockerfile(served.packed, {
      entryPoint: entryOf('sagemaker'),
      command: ['serve'],
      port: 8080,
      portVariable: 'SAGEMAKER_BIND_TO_PORT',
    }),
    '.dockerignore': dockerignore(served.packed),
    'README.md': readme(served),
  }),
};

const readme = ({ title, name, records }: ServedBundle): string => `# ${title} on Amazon SageMaker

This folder builds an image for endpoints, batch transforms and training jobs. It needs no source code.

| path | answer |
|---|---|
| \`GET /ping\` | 200 once the model is ready |
| \`POST /invocations\` | predictions for one record or many: JSON, JSON Lines (\`application/jsonlines\`) or CSV without a header (\`text/csv\`). The answer has the type of \`Accept\` |

## Building the image

\`\`\`sh
export AWS_REGION=eu-central-1 AWS_ACCOUNT=$(aws sts get-caller-identity --query Account --output text)
export REPOSITORY=$AWS_ACCOUNT.dkr.ecr.$AWS_REGION.amazonaws.com/${name}
aws ecr create-repository --repository-name ${name}
aws ecr get-login-password | docker login --username AWS --password-stdin "\${REPOSITORY%/*}"
docker build --platform linux/amd64 --provenance=false --tag "$REPOSITORY:1" . && docker push "$REPOSITORY:1"
\`\`\`

To try it before, run \`docker run --rm --publish 127.0.0.1:8080:8080 "$REPOSITORY:1" serve\`.

## An endpoint

The image contains the bundle. A model archive in S3 replaces it: \`tar -czf model.tar.gz -C bundle .\`, and
\`ModelDataUrl=s3://BUCKET/model.tar.gz\` in the primary container.

\`\`\`sh
export ROLE=arn:aws:iam::$AWS_ACCOUNT:role/SageMakerExecutionRole
aws sagemaker create-model --model-name ${name} --execution-role-arn "$ROLE" --primary-container "Image=$REPOSITORY:1"
aws sagemaker create-endpoint-config --endpoint-config-name ${name} \\
  --production-variants VariantName=main,ModelName=${name},InstanceType=ml.c7i.xlarge,InitialInstanceCount=1
aws sagemaker create-endpoint --endpoint-name ${name} --endpoint-config-name ${name}
aws sagemaker wait endpoint-in-service --endpoint-name ${name}
aws sagemaker-runtime invoke-endpoint --endpoint-name ${name} --content-type application/json \\
  --cli-binary-format raw-in-base64-out --body '${JSON.stringify({ instances: records })}' answer.json && cat answer.json
\`\`\`

## A batch transform

\`\`\`sh
aws sagemaker create-transform-job --transform-job-name ${name}-1 --model-name ${name} --batch-strategy MultiRecord \\
  --transform-input 'DataSource={S3DataSource={S3DataType=S3Prefix,S3Uri=s3://BUCKET/in/}},ContentType=application/jsonlines,SplitType=Line' \\
  --transform-output 'S3OutputPath=s3://BUCKET/out/,Accept=application/jsonlines,AssembleWith=Line' \\
  --max-payload-in-mb 1 --model-client-config InvocationsTimeoutInSeconds=600 \\
  --transform-resources InstanceType=ml.c7i.xlarge,InstanceCount=1
\`\`\`

## A training job

The channel \`pipeline\` is the folder of a pipeline. Every other channel is the parameter of the same name, whose value is the
folder of its data. Hyperparameters are parameters, too. With several pipelines in the channel, \`tunesmith_pipeline\` chooses one;
with several bundles, \`tunesmith_output\` names the cell. The bundle becomes the model of the job. The reason of a failure is in
\`FailureReason\`. With \`--checkpoint-config\`, a job on spot instances that was interrupted continues: finished steps are not
repeated, and the training goes on from its last checkpoint.

\`\`\`sh
aws sagemaker create-training-job --training-job-name ${name}-1 --role-arn "$ROLE" \\
  --algorithm-specification "TrainingImage=$REPOSITORY:1,TrainingInputMode=File" \\
  --hyper-parameters epochs=3,learning_rate=0.0003 \\
  --input-data-config '[
    {"ChannelName": "pipeline", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://BUCKET/pipeline/"}}},
    {"ChannelName": "mails", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://BUCKET/mails/"}}}]' \\
  --output-data-config S3OutputPath=s3://BUCKET/models/ --checkpoint-config S3Uri=s3://BUCKET/checkpoints/ \\
  --resource-config InstanceType=ml.c7i.4xlarge,InstanceCount=1,VolumeSizeInGB=30 \\
  --enable-managed-spot-training --stopping-condition MaxRuntimeInSeconds=43200,MaxWaitTimeInSeconds=86400
\`\`\`

The pipeline finds its base model in a channel, or downloads it from \`hf://owner/name\`. The container's user has no rights. If
/opt/ml/model cannot be written, add \`USER 0\` at the end of the Dockerfile of the training image.
`;
