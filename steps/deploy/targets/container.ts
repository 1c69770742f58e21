/** The image of a target whose server is tunesmith: dependencies are installed in one stage, and the image gets only what they are. */

/**
 * Exact, so that an image is made of the same parts later. The two have the same libraries: Debian 12. Both tags follow the naming of
 * Docker's official images, and nobody has pulled them here. To pin them to the byte as well, add the digest that
 * `docker buildx imagetools inspect IMAGE` prints: this code cannot reach a registry, and writes no digest that it has not seen.
 */
const BUILD = 'node:24.21.0-bookworm-slim';
const RUN = 'debian:12.12-slim';

export interface ImageOptions {
  entryPoint?: string[];
  command: string[];
  port: number;
  /** The variable with which the platform chooses another port. */
  portVariable?: string;
}

export function dockerfile(packed: string, { entryPoint, command, port, portVariable }: ImageOptions): string {
  return `# Installs the packed package. Nothing of this stage but its result is in the image.
FROM ${BUILD} AS install
WORKDIR /app
COPY package.json package-lock.json ${packed} ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \\
  && rm -rf node_modules/onnxruntime-node/bin/napi-v6/darwin node_modules/onnxruntime-node/bin/napi-v6/win32

# The image: Node itself, the installed packages and the bundle. There is no npm and no compiler.
FROM ${RUN}
COPY --from=install /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=install /app/node_modules ./node_modules
COPY bundle ./bundle
ENV NODE_ENV=production HOME=/tmp
# A user without rights and without a name.
USER 10001:10001
EXPOSE ${port}
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \\
  CMD ["node", "-e", ${JSON.stringify(probe(port, portVariable))}]
${entryPoint ? `ENTRYPOINT ${list(entryPoint)}\n` : ''}CMD ${list(command)}
`;
}

const list = (words: string[]): string => `[${words.map((word) => JSON.stringify(word)).join(', ')}]`;

const probe = (port: number, variable: string | undefined): string => {
  const url =
    variable === undefined ? `'http://127.0.0.1:${port}/health'` : `'http://127.0.0.1:' + (process.env.${variable} || ${port}) + '/health'`;
  return `fetch(${url}).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))`;
};

/** Everything stays out of the build but what the Dockerfile copies. */
export const dockerignore = (packed: string): string =>
  `${['*', ...['bundle', 'package.json', 'package-lock.json', packed].map((name) => `!${name}`)].join('\n')}\n`;

/** The command that starts a platform's entry, as an image has it. */
export const entryOf = (platform: string): string[] => ['node', `node_modules/tunesmith/dist/steps/deploy/targets/${platform}-entry.js`];

/** The command line of tunesmith. */
export const CLI = ['node', 'node_modules/tunesmith/dist/engine/cli.js'];
