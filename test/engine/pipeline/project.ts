/** A project in a new folder. Reading its pipeline gives cells or the screen of its errors. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Cell, Pipeline } from '../../../engine/contract/cell.ts';
import { InvalidError, renderDiagnostics } from '../../../engine/contract/errors.ts';
import { readPipeline } from '../../../engine/pipeline/index.ts';
import type { ReadOptions } from '../../../engine/pipeline/request.ts';

export class Project {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-pipeline-')));

  constructor(files: Record<string, string | Buffer> = {}) {
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true }));
    this.write({ 'package.json': '{}', ...files });
  }

  write(files: Record<string, string | Buffer>): void {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true });
      writeFileSync(join(this.folder, path), content);
    }
  }

  async read(yaml: string | Buffer, options: ReadOptions = {}): Promise<Pipeline> {
    this.write({ 'p.yaml': yaml });
    const { remember, ...pipeline } = await readPipeline(join(this.folder, 'p.yaml'), options);
    remember?.(); // as a run does
    return pipeline;
  }

  /** The screen of an invalid pipeline; paths are relative to the project. */
  async screen(yaml: string | Buffer, options: ReadOptions = {}): Promise<string> {
    return this.shown(() => this.read(yaml, options));
  }

  async shown(read: () => Promise<unknown>): Promise<string> {
    try {
      await read();
    } catch (error) {
      if (!(error instanceof InvalidError)) throw error;
      return renderDiagnostics(error.diagnostics, { color: false }).replaceAll(`${this.folder}/`, '').replaceAll(this.folder, '<project>');
    }
    return 'no mistake';
  }
}

/** Cells by name. */
export function byName(pipeline: Pipeline): Record<string, Cell> {
  return Object.fromEntries(pipeline.cells.map((cell) => [cell.name, cell]));
}

export function names(pipeline: Pipeline): string[] {
  return pipeline.cells.map(({ name }) => name);
}

/** The commands of a shell cell. */
export function commands(cell: Cell): string[] {
  return cell.action.kind === 'shell' ? cell.action.commands : [];
}

/** The options of a step's cell. */
export function options(cell: Cell): unknown {
  return cell.action.kind === 'step' ? cell.action.options : undefined;
}

/** Removes the margin of the test's indentation. `$\{{` means `${{`. */
export function text(strings: TemplateStringsArray): string {
  const lines = strings[0]!.replace(/^\n/, '').split('\n');
  const margin = Math.min(...lines.filter((line) => line.trim() !== '').map((line) => line.search(/\S/)));
  return lines
    .map((line) => line.slice(margin))
    .join('\n')
    .trimEnd()
    .concat('\n');
}
