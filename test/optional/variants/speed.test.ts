/** Reading must be fast and never quadratic in the number of cells. The limits leave room for a slow machine. */
import { expect, test } from 'vitest';
import { Project } from '../../engine/pipeline/project.ts';

/** CPU time, which does not depend on other processes. */
async function seconds(yaml: string, cells: number): Promise<number> {
  const project = new Project({ 'x.txt': '' });
  await project.read('steps: { warm: { run: echo } }\n');
  const start = process.cpuUsage();
  const pipeline = await project.read(yaml);
  const { user, system } = process.cpuUsage(start);
  expect(pipeline.cells).toHaveLength(cells);
  return (user + system) / 1e6;
}

const list = (n: number) => `[${Array.from({ length: n }, (_, i) => i).join()}]`;

const grid = (n: number) => `
steps:
  t:
    matrix: { a: ${list(n)}, b: ${list(n)} }
    run: echo \${{ matrix.a }} > \${{ outputs.o }}
    inputs: { x: x.txt }
    outputs: { o: "out/\${{ matrix.a }}-\${{ matrix.b }}.txt" }
  e:
    run: cat \${{ inputs.o }} > \${{ outputs.r }}
    inputs: { o: "\${{ steps.t.o }}", all: "out/\${{ matrix.a }}-*.txt" }
    outputs: { r: "res/\${{ matrix.a }}-\${{ matrix.b }}.txt" }
  b: { run: "cat \${{ steps.e[*].r }}", needs: t }
`;

test('a matrix with 256 cells and their readers', async () => {
  expect(await seconds(grid(16), 513)).toBeLessThan(1);
});

test('10,000 cells take about four times as long as 2,500', async () => {
  const globless = (n: number) => grid(n).replace(', all: "out/${{ matrix.a }}-*.txt"', '');
  const few = await seconds(globless(50), 5001);
  expect(await seconds(globless(100), 20_001)).toBeLessThan(Math.max(few * 10, 1));
});

test('a chain of 1,000 steps, written backwards', async () => {
  const steps = Array.from({ length: 1000 }, (_, i) => `  s${i}: { run: "cat \${{ steps.s${i + 1}.o }}", outputs: { o: out/${i} } }\n`);
  const yaml = `steps:\n${steps.join('')}  s1000: { run: echo, outputs: { o: out/1000 } }\n`;
  expect(await seconds(yaml, 1001)).toBeLessThan(2);
});

test('1,000 steps that use one built-in step: its options are compiled once', async () => {
  const steps = Array.from({ length: 1000 }, (_, i) => `  s${i}: { uses: collect, with: { files: x.txt } }\n`);
  expect(await seconds(`steps:\n${steps.join('')}`, 1000)).toBeLessThan(3);
});
