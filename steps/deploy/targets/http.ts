/** Any host of containers: Docker, docker compose and Kubernetes. */
import { isGenerating } from '../../ml/models/config.ts';
import { CLI, dockerfile, dockerignore } from './container.ts';
import type { ServedBundle, Target } from './target.ts';

const PORT = 8080;

export const http: Target = {
  contents: 'serving',
  files(served) {
    return {
      Dockerfile: dockerfile(served.packed, {
        command: [...CLI, 'serve', 'bundle', '--host', '0.0.0.0', '--port', String(PORT)],
        port: PORT,
      }),
      '.dockerignore': dockerignore(served.packed),
      'compose.yaml': compose(served),
      'kubernetes.yaml': kubernetes(served),
      'README.md': readme(served),
    };
  },
};

const compose = ({ name, memory }: ServedBundle): string => `# docker compose up --build --detach
services:
  ${name}:
    build: .
    image: ${name}:1
    ports:
      - "127.0.0.1:${PORT}:${PORT}"
    read_only: true
    tmpfs:
      - /tmp
    cap_drop:
      - ALL
    security_opt:
      - no-new-privileges:true
    # The server ends within 25 seconds, and answers running requests before.
    stop_grace_period: 30s
    restart: unless-stopped
    deploy:
      resources:
        limits:
          cpus: "2"
          memory: ${memory}M
`;

const kubernetes = ({ name, memory }: ServedBundle): string => `# kubectl apply -f kubernetes.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
  labels: { app.kubernetes.io/name: ${name} }
spec:
  # There is no number of replicas: the autoscaler below sets it, and applying this file again does not change it.
  strategy:
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  selector:
    matchLabels: { app.kubernetes.io/name: ${name} }
  template:
    metadata:
      labels: { app.kubernetes.io/name: ${name} }
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      # preStop, then the 25 seconds in which the server answers running requests.
      terminationGracePeriodSeconds: 35
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        seccompProfile: { type: RuntimeDefault }
      containers:
        - name: ${name}
          image: REGISTRY/${name}:1
          ports:
            - { name: http, containerPort: ${PORT} }
          startupProbe:
            httpGet: { path: /health, port: http }
            periodSeconds: 1
            failureThreshold: 120
          readinessProbe:
            httpGet: { path: /health, port: http }
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            httpGet: { path: /health, port: http }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          lifecycle:
            preStop:
              # Until the service sends no more requests here. Kubernetes 1.30 or later.
              sleep: { seconds: 5 }
          resources:
            requests: { cpu: "1", memory: ${memory}Mi }
            limits: { cpu: "2", memory: ${memory}Mi }
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: { drop: [ALL] }
          volumeMounts:
            - { name: tmp, mountPath: /tmp }
      volumes:
        - name: tmp
          emptyDir: { sizeLimit: 64Mi }
---
apiVersion: v1
kind: Service
metadata:
  name: ${name}
  labels: { app.kubernetes.io/name: ${name} }
spec:
  selector: { app.kubernetes.io/name: ${name} }
  ports:
    - { name: http, port: 80, targetPort: http }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: ${name}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: ${name} }
  minReplicas: 2
  maxReplicas: 10
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: 70 }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: ${name}
spec:
  minAvailable: 1
  # A pod that is not ready does not hold up the draining of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: { app.kubernetes.io/name: ${name} }
`;

const readme = ({ title, name, bundle, records }: ServedBundle): string => {
  const [path, example] = isGenerating(bundle.task)
    ? ['generate', { prompt: records[0], max_new_tokens: 20 }]
    : ['predict', { inputs: records }];
  const ask = `curl http://127.0.0.1:${PORT}/${path} -H 'content-type: application/json' -d '${JSON.stringify(example)}'`;
  return `# ${title} in a container

This folder builds an image that serves the model in \`bundle/\` at port ${PORT}. It needs no source code.

| path | answer |
|---|---|
| \`POST /${path}\` | predictions; \`/openapi.json\` describes requests and answers |
| \`GET /health\` | 200 once the model is ready |
| \`GET /metrics\` | figures for Prometheus |

## Docker

\`\`\`sh
docker build --tag ${name}:1 .
docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:${PORT}:${PORT} ${name}:1
${ask}
\`\`\`

Or \`docker compose up --build --detach\`, which uses \`compose.yaml\`.

## Kubernetes

Put the address of your registry in place of REGISTRY.

\`\`\`sh
docker build --tag REGISTRY/${name}:1 . && docker push REGISTRY/${name}:1
sed 's|REGISTRY/|registry.example.org/team/|' kubernetes.yaml | kubectl apply -f -
kubectl rollout status deployment/${name}
kubectl port-forward service/${name} ${PORT}:80
\`\`\`

The manifests have probes, limits, an autoscaler (2 to 10 pods at 70 % CPU) and a disruption budget. The autoscaler needs the
metrics server of the cluster.

Everyone who reaches the port can send requests. Put a gateway with authentication and TLS in front of it.
`;
};
