/** Translates the errors of the YAML parser into messages for the author of the file. */

import { type Document, Lexer, type YAMLError } from 'yaml';
import { lineEnd } from '../format/text.ts';

export type SyntaxError = [start: number, end: number, message: string, hint?: string];

/** At most one error for each line. Consequential errors are left out. */
export function syntaxErrors(documents: Document.Parsed[], text: string, format: 'YAML' | 'JSON'): SyntaxError[] {
  const errors = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  if (errors.length === 0) return [];
  // Both sides of a conflict may cause any other errors.
  const conflict = /^(?:<<<<<<<|>>>>>>>)(?: .*)?$/m.exec(text);
  if (conflict) {
    return [
      [
        conflict.index,
        conflict.index + conflict[0].length,
        'this file contains a merge conflict',
        'Choose one side and remove the conflict markers.',
      ],
    ];
  }
  const tokens = tokenErrors(text);
  const until = Math.min(...tokens.unquoted.map(([start]) => lineStart(text, start)), Number.POSITIVE_INFINITY);
  const found: SyntaxError[] = [...tokens.unquoted];
  const seen = new Set<number>();
  let derailed = false;
  for (const error of errors.sort((a, b) => a.pos[0] - b.pos[0])) {
    const line = lineStart(text, error.pos[0]);
    if (error.pos[0] >= until || seen.has(line) || (derailed && error.code === 'UNEXPECTED_TOKEN')) continue;
    seen.add(line);
    derailed ||= error.code === 'UNEXPECTED_TOKEN';
    const [start, end, message, hint] = inWords(error, text, tokens);
    found.push([start, Math.max(end, start + 1), `bad ${format}: ${message}`, hint]);
  }
  return found;
}

/** Messages for common errors. Rare errors keep the message of the parser. */
function inWords({ code, pos: [start, end], message }: YAMLError, text: string, { quote, brackets }: TokenErrors): SyntaxError {
  const line: [number, number] = [start + /^ */.exec(text.slice(start))![0].length, lineEnd(text, start)];
  switch (code) {
    case 'BAD_INDENT':
    case 'MISSING_CHAR': {
      const open = /end with a [\]}]$/.test(message) ? brackets.findLast(([at]) => at < start) : undefined;
      if (open) return [...open, `this ${text[open[0]]} is never closed`, `Close it with ${text[open[0]] === '[' ? ']' : '}'}.`];
      if (quote && message.startsWith('Missing closing'))
        return [...quote, 'this quote is never closed', `Close it with ${text[quote[0]]}.`];
      if (/same column$/.test(message))
        return [...line, 'this line is not indented like the lines before it', 'All entries of a map or list begin in the same column.'];
      break;
    }
    case 'MULTILINE_IMPLICIT_KEY':
      return [...line, 'a colon is missing here', 'Write a colon and a space after the key: `run: echo`.'];
    case 'BLOCK_AS_IMPLICIT_KEY': {
      const whole = /^.*?(?=\s*(?: #.*)?$)/.exec(text.slice(...line))![0];
      if (!/: /.test(whole))
        return [
          ...line,
          'a value cannot continue as a map in the next line',
          'Indent the next line like this one, or remove the value after the colon.',
        ];
      return [start, start + whole.length, 'text that contains ": " must be quoted', `Quote it: ${quoted(whole)}`];
    }
    case 'BLOCK_IN_FLOW':
      return [...line, 'a comma is missing inside { } or [ ]', 'Write a comma between the entries, or quote text that contains ": ".'];
    case 'UNEXPECTED_TOKEN':
      if (/^[\]}]$/.test(text[start]!))
        return [start, end, `this ${text[start]} has no opening bracket`, 'Remove it, or quote the text that contains it.'];
      if (/scalar at node end/.test(message))
        return [...line, 'there is text after the closing quote', 'Quote the whole text. Inside single quotes, write a quote twice.'];
      break;
    case 'TAB_AS_INDENT':
      return [start, end, 'this line is indented with a tab', 'Indent it with spaces.'];
    case 'BAD_SCALAR_START':
      return [start, end, `text cannot begin with ${text[start]}`, 'Quote it.'];
    case 'TAG_RESOLVE_FAILED':
      return [start, end, `${text.slice(start, end)} has no meaning here`, 'Remove it, or quote the text that begins with "!".'];
    case 'BAD_DQ_ESCAPE':
      return [
        start,
        end,
        `${text.slice(start, end)} is no valid escape inside double quotes`,
        'Write the backslash twice, or use single quotes.',
      ];
  }
  return [start, end, `${message[0]!.toLowerCase()}${message.slice(1)}`];
}

function quoted(text: string): string {
  return /["\\]/.test(text) ? `'${text.replaceAll("'", "''")}'` : `"${text}"`;
}

interface TokenErrors {
  /** `${{` inside { } or [ ], where YAML reads `{` as the start of another map. */
  unquoted: SyntaxError[];
  quote?: [number, number];
  brackets: [number, number][];
}

function tokenErrors(text: string): TokenErrors {
  const found: TokenErrors = { unquoted: [], brackets: [] };
  let open: number[] = [];
  let offset = 0;
  let before = '';
  const unclosed = () => {
    found.brackets.push(...open.map((at): [number, number] => [at, at + 1]));
    open = [];
  };
  for (const token of new Lexer().lex(text)) {
    if (token === ABANDONED) unclosed();
    if (MARKS.has(token)) continue;
    if (token === '{' && before.endsWith('$') && text.startsWith('{{', offset)) found.unquoted.push(unquoted(text, offset - 1, before));
    if (token === '[' || token === '{') open.push(offset);
    if ((token === ']' || token === '}') && text[open.at(-1) ?? -1] === (token === ']' ? '[' : '{')) open.pop();
    const quote = token[0];
    if ((quote === '"' || quote === "'") && (token.length === 1 || !token.endsWith(quote))) {
      found.quote = [offset, Math.min(offset + token.length, lineEnd(text, offset))];
    }
    before = token;
    offset += token.length;
  }
  unclosed();
  return found;
}

/** Marks that the lexer inserts for a document, unclosed brackets and a scalar. They are not in the text. */
const ABANDONED = '\x18';
const MARKS = new Set(['\x02', ABANDONED, '\x1f']);

/** The whole value around the expression: `out/${{ matrix.k }}.txt`. */
function unquoted(text: string, dollar: number, before: string): SyntaxError {
  const start = dollar - (before.length - 1);
  const close = text.slice(0, lineEnd(text, dollar)).indexOf('}}', dollar);
  const end = close < 0 ? lineEnd(text, dollar) : close + 2 + /^[^\s,\]}]*/.exec(text.slice(close + 2))![0].length;
  const whole = text.slice(start, end).trim();
  return [start, start + whole.length, 'an expression must be quoted inside { } and [ ]', `Quote it: "${whole}"`];
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', Math.max(offset - 1, 0)) + 1;
}
