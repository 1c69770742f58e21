/** Finds the files that a collect step reads, and their format. */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type SourceFile, unreadable } from '../data/bytes.ts';

export type { SourceFile } from '../data/bytes.ts';

export type Format = 'csv' | 'tsv' | 'json' | 'jsonl' | 'parquet' | 'text' | 'mail';

/**
 * A folder stands for the files in it, at any depth, except dotfiles and node_modules. The folder of a table from
 * another step stands for its rows. `addresses`: of fetched files, by path. `leftOut`: the patterns that exclude
 * files in the folders.
 */
export async function listFiles(
  paths: string[],
  folder: string,
  addresses: Record<string, string>,
  leftOut: readonly string[] = [],
): Promise<SourceFile[]> {
  const passedOver = new Set(leftOut);
  const files = new Map<string, SourceFile>();
  const add = async (path: string, source: string) => {
    let size = 0;
    try {
      const found = await stat(path);
      size = found.size;
      if (found.isDirectory()) {
        const entries = (await readdir(path, { withFileTypes: true })).filter(visible).sort(byBytes);
        const isTable = ['card.json', 'data.parquet'].every((name) => entries.some((entry) => entry.name === name));
        for (const { name } of entries.filter(({ name }) => (!isTable || name === 'data.parquet') && !passedOver.has(join(path, name))))
          await add(join(path, name), source === '' ? name : `${source}/${name}`);
        return;
      }
    } catch (error) {
      throw unreadable(source, error);
    }
    files.set(path, { path, source, size });
  };
  for (const path of paths) await add(path, addresses[path] ?? relative(folder, path).split(sep).join('/'));
  if (files.size === 0) throw new StepError('there are no files to read', 'The folders of `files` are empty.');
  return [...files.values()];
}

const visible = (entry: Dirent) => !entry.name.startsWith('.') && entry.name !== 'node_modules';

const byBytes = (a: Dirent, b: Dirent) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));

const extensions: Record<string, Format> = {
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.tab': 'tsv',
  '.json': 'json',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.parquet': 'parquet',
  '.pq': 'parquet',
  '.txt': 'text',
  '.text': 'text',
  '.md': 'text',
  '.eml': 'mail',
  '.mbox': 'mail',
};

/** All files of a step have one format. */
export function formatOf(files: SourceFile[]): Format {
  const formats = new Map<Format, string>();
  for (const { source } of files) {
    const extension = extname(source.replace(/\.gz$/i, '')).toLowerCase();
    const format = extensions[extension];
    if (!format)
      throw new StepError(
        `${source}: cannot derive the format from ${extension ? `the extension ${extension}` : 'a name without extension'}`,
        'Set `format`: csv, tsv, json, jsonl, parquet, text or mail.',
      );
    formats.set(format, formats.get(format) ?? source);
  }
  if (formats.size > 1)
    throw new StepError(
      `the files have different formats: ${[...formats].map(([format, source]) => `${source} is ${format}`).join(', ')}`,
      'Read one format per collect step, or set `format` if all are the same.',
    );
  return [...formats.keys()][0]!;
}
