/** A server of a bundle in the test's own process, and requests to it. */
import { type ServeOptions, startServer } from '../../../steps/serving/serve.ts';

/** `said`: the lines that it prints. */
export async function withServer(
  folder: string,
  options: ServeOptions,
  use: (url: string, said: string[], server: Awaited<ReturnType<typeof startServer>>) => Promise<void>,
) {
  const said: string[] = [];
  const server = await startServer(folder, { port: 0, say: (line) => said.push(line), ...options });
  try {
    await use(server.url, said, server);
  } finally {
    await server.close();
  }
}

export const post = (url: string, headers: Record<string, string> = {}, inputs: unknown = 'hello') =>
  fetch(`${url}/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ inputs }),
  });

/** The first label of each answer's scores. */
export const labelsOf = async (response: Response) =>
  (((await response.json()) as any).predictions as any[]).map(({ scores }) => Object.keys(scores)[0]!);
