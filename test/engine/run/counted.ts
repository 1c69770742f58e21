/** A pipeline with a step that counts. */

export const PIPELINE = `
steps:
  words: { run: "sort \${{ inputs.text }} > \${{ outputs.list }}", inputs: { text: "in/*.txt" }, outputs: { list: out/words.txt } }
  count:
    uses: ./count.mjs
    with: { list: "\${{ steps.words.list }}", extra: in }
  noise: { run: "date +%N > \${{ outputs.o }}", outputs: { o: noise.txt } }
  secretly: { run: "cat hidden.txt > \${{ outputs.o }}", outputs: { o: out/secretly.txt } }
`;

export const COUNT = `
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
export default {
  name: 'count', version: 1, inputs: { list: 'file', extra: 'folder' }, outputs: { n: 'file' },
  run({ inputs, outputs }) {
    writeFileSync(outputs.n, readFileSync(inputs.list, 'utf8').length + ' ' + readdirSync(inputs.extra).join(' '));
  },
};
`;

export const FILES = { 'p.yaml': PIPELINE, 'count.mjs': COUNT, 'in/a.txt': 'pear\n', 'in/b.txt': 'apple\n', 'hidden.txt': 'x\n' };
