/** Inserts values into shell commands. A value becomes one safely quoted word, a list becomes several. */
import { lineEnd } from '../format/text.ts';
import { type Expression, template } from './interpolate.ts';

/** How the shell reads a text at the position of an expression. */
export type Context =
  /** A word or a part of one, where quoted text is taken literally. */
  'word' | 'comment' | 'single' | 'double' | 'backtick' | 'here-document' | 'arithmetic' | 'escaped' | 'dollar';

export interface CommandExpression {
  expression: Expression;
  context: Context;
  /** The expression is a whole word, so a list can become several words. */
  alone: boolean;
  /** `<` or `>` follows, so the shell would read a bare number as a file descriptor. */
  redirected: boolean;
}

export interface Command {
  /** Text and expressions, alternating. Comments with expressions are left out. */
  parts: (string | CommandExpression)[];
}

const known = { sh: new Map<string, Command>(), bash: new Map<string, Command>() };
/** A cache of parsed commands, which cells of a step share. Its size is limited. */
const MOST_KNOWN = 200;

export function parseCommand(text: string, shell: 'sh' | 'bash'): Command {
  const commands = known[shell];
  let command = commands.get(text);
  if (!command) {
    command = parse(text, shell);
    if (commands.size === MOST_KNOWN) commands.clear();
    commands.set(text, command);
  }
  return command;
}

function parse(text: string, shell: 'sh' | 'bash'): Command {
  const { expressions, parts: written } = template(text) ?? { expressions: [], parts: [text] };
  const plain = written.every((part) => typeof part !== 'string' || PLAIN.test(part));
  const { contexts, comments } = plain ? WORDS : new Scanner(text, expressions, shell).scan();
  const parts: Command['parts'] = [];
  let at = 0;
  const take = (until: number) => {
    if (until > at) parts.push(text.slice(at, until));
    at = Math.max(at, until);
  };
  for (const [i, expression] of expressions.entries()) {
    const comment = comments.get(i);
    if (comment) {
      take(comment.start);
      at = comment.end;
      continue;
    }
    take(expression.start);
    const [before, after] = [text[expression.start - 1] ?? ' ', text[expression.end] ?? ' '];
    parts.push({
      expression,
      context: contexts[i] ?? 'word',
      alone: /[\s;&|()<>]/.test(before) && /[\s;&|()<>]/.test(after),
      redirected: /[<>]/.test(after),
    });
    at = expression.end;
  }
  take(text.length);
  return { parts };
}

/** A text without quotes, comments, parentheses, braces and here-documents, so that every expression in it is a word. */
const PLAIN = /^(?:[\w\s./>|;&=,:@%+-]|<(?!<))*$/;
const WORDS: Pick<Scanner, 'contexts' | 'comments'> = { contexts: [], comments: new Map() };

/** The error if an expression is not allowed at its position in a command. */
export function misplaced({ expression: { source }, context }: CommandExpression): { message: string; hint: string } | undefined {
  const here = `\${{ ${source} }}`;
  switch (context) {
    case 'word':
    case 'comment':
    case 'arithmetic':
      return undefined;
    case 'single':
    case 'double':
      return {
        message: 'an expression cannot be inside shell quotes',
        hint: `Move it out of the quotes, because ${here} becomes a safely quoted word itself.`,
      };
    case 'backtick':
      return { message: 'an expression cannot be inside backticks', hint: 'Write $(…) instead of `…`.' };
    case 'here-document':
      return {
        message: 'an expression cannot be inside a here-document',
        hint: `Declare it as \`env: {NAME: "${here}"}\` and write $NAME.`,
      };
    case 'escaped':
    case 'dollar':
      return {
        message: `an expression cannot directly follow ${context === 'dollar' ? 'a $' : 'a backslash'}`,
        hint: 'Remove the character before it.',
      };
  }
}

/** A value as a word of the shell, quoted if necessary. */
export function word(value: string, redirected = false): string {
  const bare =
    /^[A-Za-z0-9_@%+=:,./-]+$/.test(value) && !/^[A-Za-z_]\w*=/.test(value) && !(redirected && /^\d+$/.test(value)) && !KEYWORDS.has(value);
  // Escape text that looks like our own placeholder of an input.
  return bare ? value : `'${value.replaceAll("'", `'\\''`).replaceAll('${{', () => "$''{{")}'`;
}

/** The shell does not read these as plain words at the start of a command. */
const KEYWORDS = new Set('if then elif else fi for while until do done case esac in function select time coproc'.split(' '));

/** Prefixes a path that begins with `-`, because a program would read it as an option. */
export function pathWord(path: string): string {
  return path.startsWith('-') ? `./${path}` : path;
}

/** The placeholder in a command for files of an input that are known only when the cell starts. */
export function matchesOf(role: string): string {
  return `\${{ inputs.${role} }}`;
}

export function withMatches(command: string, files: (role: string) => string[]): string {
  return command.replace(/\$\{\{ inputs\.([\w-]+) \}\}/g, (_, role: string) =>
    files(role)
      .map((path) => word(pathWord(path)))
      .join(' '),
  );
}

interface Frame {
  kind: 'top' | '"' | '(' | '{' | 'arithmetic';
  /** `{`: inside double quotes. */
  quoted?: boolean;
  /** `(`: how many `case` are open, whose patterns end in `)`. */
  cases: number;
  /** `arithmetic`: open parentheses in it. */
  depth: number;
}

/** A partial shell parser that finds out whether and how each expression is quoted. */
class Scanner {
  readonly contexts: Context[] = [];
  /** Expressions in comments, with the positions of the comments. */
  readonly comments = new Map<number, { start: number; end: number }>();
  readonly #frames: Frame[] = [frame('top')];
  readonly #heredocs: { end: string; tabs: boolean }[] = [];
  #at = 0;
  #next = 0;
  /** A word may begin here. */
  #fresh = true;

  constructor(
    readonly text: string,
    readonly expressions: Expression[],
    readonly shell: 'sh' | 'bash',
  ) {}

  scan() {
    while (this.#at < this.text.length) this.#step();
    return { contexts: this.contexts, comments: this.comments };
  }

  #step() {
    const { text } = this;
    const here = this.#frames.at(-1)!;
    if (this.#expression()) return this.#put(this.#context(here));
    const c = text[this.#at]!;
    const words = here.kind === 'top' || here.kind === '(';
    if (c === '\\') return this.#escape();
    if (c === '`') return this.#skip('backtick', (at) => closing(text, at, '`'));
    if (c === '$') return this.#dollar(here);
    if (here.kind === '"') {
      if (c === '"') this.#frames.pop();
      return this.#pass();
    }
    if (here.kind === 'arithmetic') return this.#arithmetic(here, c);
    if (c === '}' && here.kind === '{') {
      this.#frames.pop();
      return this.#pass();
    }
    if (here.quoted) {
      if (c === '"') this.#frames.push(frame('"'));
      return this.#pass();
    }
    if (c === "'") return this.#skip('single', (at) => text.indexOf("'", at));
    if (c === '"') {
      this.#frames.push(frame('"'));
      return this.#pass();
    }
    if (!words) return this.#pass();
    if (c === '#' && this.#fresh) return this.#comment();
    if (c === '\n') return this.#newline();
    if (text.startsWith('<<', this.#at)) return this.#heredoc();
    if (this.shell === 'bash' && this.#fresh && text.startsWith('((', this.#at)) {
      this.#frames.push(frame('arithmetic'));
      return this.#pass(2);
    }
    if (c === '(') this.#frames.push(frame('('));
    if (c === ')' && here.kind === '(' && here.cases === 0) this.#frames.pop();
    if (this.#fresh && /^case\s+\S+\s+in\s/.test(text.slice(this.#at, this.#at + 300))) here.cases++;
    if (this.#fresh && here.cases > 0 && /^esac\b/.test(text.slice(this.#at, this.#at + 5))) here.cases--;
    this.#at++;
    this.#fresh = /[\s;&|()<>]/.test(c);
  }

  #context(here: Frame): Context {
    if (here.kind === '"' || here.quoted) return 'double';
    return here.kind === 'arithmetic' ? 'arithmetic' : 'word';
  }

  #expression(): boolean {
    return this.expressions[this.#next]?.start === this.#at;
  }

  #put(context: Context): void {
    this.contexts[this.#next] = context;
    this.#at = this.expressions[this.#next]!.end;
    this.#next++;
    this.#fresh = false;
  }

  #pass(count = 1): void {
    this.#at += count;
    this.#fresh = false;
  }

  #escape(): void {
    this.#pass();
    if (this.#expression()) this.#put('escaped');
    else this.#at++;
  }

  #dollar(here: Frame) {
    const { text } = this;
    const after = text[this.#at + 1];
    const inDouble = here.kind === '"' || here.quoted === true;
    this.#pass();
    if (this.#expression()) return this.#put('dollar');
    if (text.startsWith('((', this.#at)) {
      this.#frames.push(frame('arithmetic'));
      this.#at += 2;
    } else if (after === '(') {
      this.#frames.push(frame('('));
      this.#at++;
      this.#fresh = true;
    } else if (after === '{') {
      this.#frames.push({ ...frame('{'), quoted: inDouble });
      this.#at++;
    } else if (after === "'" && !inDouble && this.shell === 'bash') {
      this.#skip('single', (at) => closing(text, at, "'"));
    }
  }

  #arithmetic(here: Frame, c: string): void {
    if (c === '(') here.depth++;
    else if (c === ')' && here.depth > 0) here.depth--;
    else if (c === ')') {
      this.#frames.pop();
      if (this.text[this.#at + 1] === ')') this.#at++;
    }
    this.#pass();
  }

  #comment(): void {
    const start = this.#at;
    const end = lineEnd(this.text, start);
    while ((this.expressions[this.#next]?.start ?? Number.POSITIVE_INFINITY) < end) {
      this.comments.set(this.#next, { start, end });
      this.#put('comment');
    }
    this.#at = Math.max(end, this.#at);
  }

  #newline(): void {
    this.#at++;
    for (const { end, tabs } of this.#heredocs.splice(0)) {
      while (this.#at < this.text.length) {
        const stop = lineEnd(this.text, this.#at);
        const line = this.text.slice(this.#at, stop);
        this.#within('here-document', stop);
        this.#at = Math.min(stop + 1, this.text.length);
        if ((tabs ? line.replace(/^\t+/, '') : line) === end) break;
      }
    }
    this.#fresh = true;
  }

  #heredoc() {
    const match = /^<<(<?)(-?)[ \t]*((?:'[^'\n]*'|"[^"\n]*"|\\.|[^\s;&|()<>'"\\])*)/.exec(this.text.slice(this.#at, this.#at + 300))!;
    const [all, string, dash, delimiter] = match;
    if (string || delimiter === '') return this.#pass(2 + string!.length);
    this.#heredocs.push({ end: delimiter!.replace(/['"\\]/g, ''), tabs: dash === '-' });
    this.#within('here-document', this.#at + all.length);
    this.#fresh = true;
  }

  /** Skips a quoted text, from after the opening quote to after the closing one. */
  #skip(context: Context, close: (from: number) => number): void {
    const end = close(this.#at + 1);
    this.#within(context, end < 0 ? this.text.length : end + 1);
    this.#fresh = false;
  }

  #within(context: Context, end: number): void {
    while ((this.expressions[this.#next]?.start ?? Number.POSITIVE_INFINITY) < end) this.#put(context);
    this.#at = Math.max(end, this.#at);
  }
}

function frame(kind: Frame['kind']): Frame {
  return { kind, cases: 0, depth: 0 };
}

/** The next such quote without a backslash before it. */
function closing(text: string, from: number, quote: string): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === quote) return at;
  }
  return -1;
}
