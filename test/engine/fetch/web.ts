/** A web server with archives. */
import { createServer } from 'node:http';
import { onTestFinished } from 'vitest';
import { engine } from '../run/rig.ts';
import { portOf, send, sha256 } from './hub.ts';

export async function web() {
  const files = new Map<string, Buffer>();
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.url}${request.headers.range ? ` ${request.headers.range}` : ''}`);
    const content = files.get(request.url!);
    if (!content) return void response.writeHead(404).end();
    send(request, response, content, {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${portOf(server)}`;
  return {
    url,
    requests,
    files,
    /** The address of the file. */
    put(path: string, content: Buffer): string {
      files.set(path, content);
      return `${url}${path}#sha256=${sha256(content)}`;
    },
  };
}

/** A pipeline that lists its input files with their content. */
export function listing(address: string): string {
  return `
steps:
  list:
    run: for f in \${{ inputs.in }}; do if test -d $f; then (cd $f && find . ! -type d | sort | while read n; do echo "$n $(cat $n)"; done); else echo "$(basename $f) $(cat $f)"; fi; done > \${{ outputs.list }}
    inputs: { in: '${address}' }
    outputs: { list: out/list.txt }
`;
}

export async function listed(address: string) {
  const p = engine(listing(address));
  const { list } = (await p.go()).failures;
  return list ? `${list.message}\n${list.hint}` : p.read('out/list.txt');
}
