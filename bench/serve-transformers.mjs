/** A server with transformers.js, for serve.ts, which copies it beside that package. The model's folder and the port are arguments. */
import { createServer } from 'node:http';
import { basename, dirname } from 'node:path';
import { env, pipeline } from '@huggingface/transformers';

const [folder, port] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const classify = await pipeline('text-classification', basename(folder), { dtype: 'fp32' });

createServer(async (request, response) => {
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { inputs } = JSON.parse(Buffer.concat(chunks).toString());
    const [answer] = await classify(inputs);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer));
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
}).listen(Number(port), '127.0.0.1');
