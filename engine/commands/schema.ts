/** `tunesmith schema`: prints the JSON Schema of pipeline files, which editors use to complete and check them. */
import { writeFileSync } from 'node:fs';
import { pipelineSchema } from '../pipeline/schema.ts';

export default async function schema({ output }: { output?: string }): Promise<void> {
  const text = `${JSON.stringify(await pipelineSchema(), null, 2)}\n`;
  if (output !== undefined) writeFileSync(output, text);
  else process.stdout.write(text);
}
