/** Splits a file into mails: one, or as many as an mbox file contains. */

import { bytesOf, linesOf, type SourceFile } from '../data/bytes.ts';
import { isEnvelope } from '../data/mail.ts';

export async function* readMails(file: SourceFile): AsyncGenerator<{ row: number; bytes: Buffer }> {
  let mbox = false;
  let afterBlank = true;
  let row = 1;
  let lines: Buffer[] = [];
  for await (const { number, bytes } of linesOf(bytesOf(file))) {
    const starts = (number === 1 || mbox) && afterBlank && isEnvelope(bytes.toString('latin1'));
    if (starts) {
      if (lines.length > 0) yield { row, bytes: joined(lines) };
      mbox = true;
      row = number;
      lines = [];
    } else lines.push(mbox && quotedFrom.test(bytes.subarray(0, 32).toString('latin1')) ? bytes.subarray(1) : bytes);
    afterBlank = bytes.length === 0;
  }
  if (lines.length > 0) yield { row, bytes: joined(lines) };
}

/** mbox writes a body's line `From …` as `>From …`. */
const quotedFrom = /^>+From /;

const joined = (lines: Buffer[]) => Buffer.concat(lines.flatMap((line) => [line, lineBreak]));

const lineBreak = Buffer.from('\n');
