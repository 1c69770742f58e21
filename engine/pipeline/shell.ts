/** Values in shell commands: each becomes one safely quoted word, a list becomes several. */
import { type Expression, template } from './expression.ts';

/** How the shell would read what stands at an expression's place. */
export type Context =
  /** A word, or part of one: what is quoted here is taken as it is. */
  'word' | 'comment' | 'single' | 'double' | 'backtick' | 'here-document' | 'arithmetic' | 'escaped' | 'dollar';

export interface CommandExpression {
  expression: Expression;
  context: Context;
  /** Nothing stands directly before or behind it: here a list can become several words. */
  alone: boolean;
  /** `<` or `>` follows: a bare number would be taken for the number of a file. */
  redirected: boolean;
}

export interface Command {
  /** Text and expressions by turns. A comment with expressions in it is left out: it uses nothing. */
  parts: (string | CommandExpression)[];
}

const known = { sh: new Map<string, Command>(), bash: new Map<string, Command>() };
/** The cells of a step share a command; a file of many thousand steps must not fill the memory with theirs. */
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
  const expressions = template(text)?.expressions ?? [];
  const { contexts, comments } = new Scanner(text, expressions, shell).scan();
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
      context: contexts[i]!,
      alone: /[\s;&|()<>]/.test(before) && /[\s;&|()<>]/.test(after),
      redirected: /[<>]/.test(after),
    });
    at = expression.end;
  }
  take(text.length);
  return { parts };
}

/** What is wrong with an expression at its place in a command, if anything is. */
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
        message: 'an expression cannot stand inside shell quotes',
        hint: `Take it out of the quotes: ${here} becomes a safely quoted word by itself.`,
      };
    case 'backtick':
      return { message: 'an expression cannot stand inside backticks', hint: 'Write $(…) instead of `…`.' };
    case 'here-document':
      return {
        message: 'an expression cannot stand inside a here-document',
        hint: `Declare it in \`env: {NAME: "${here}"}\` and write $NAME.`,
      };
    case 'escaped':
    case 'dollar':
      return {
        message: `an expression cannot follow ${context === 'dollar' ? 'a $' : 'a backslash'} directly`,
        hint: 'Remove the character before it.',
      };
  }
}

/** A value as a word of the shell, quoted where it must be. */
export function word(value: string, redirected = false): string {
  const bare =
    /^[A-Za-z0-9_@%+=:,./-]+$/.test(value) && !/^[A-Za-z_]\w*=/.test(value) && !(redirected && /^\d+$/.test(value)) && !KEYWORDS.has(value);
  // What looks like our own mark of an input must not be taken for one.
  return bare ? value : `'${value.replaceAll("'", `'\\''`).replaceAll('${{', () => "$''{{")}'`;
}

/** At the start of a command these would not be taken as words. */
const KEYWORDS = new Set('if then elif else fi for while until do done case esac in function select time coproc'.split(' '));

/** A path that begins with `-` would be taken for an option. */
export function pathWord(path: string): string {
  return path.startsWith('-') ? `./${path}` : path;
}

/** Stands in a command for the files of an input that are known only when the cell starts. */
export function matchesOf(role: string): string {
  return `\${{ inputs.${role} }}`;
}

/** Puts these files into a command. */
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

/** Reads a command as far as needed to know, at each expression, whether and how it is quoted. */
class Scanner {
  readonly contexts: Context[] = [];
  /** Expressions in a comment, with the comment's place. */
  readonly comments = new Map<number, { start: number; end: number }>();
  readonly #frames: Frame[] = [frame('top')];
  readonly #heredocs: { end: string; tabs: boolean }[] = [];
  #at = 0;
  #next = 0;
  /** A word would begin here. */
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

  /** Past an opening quote, to behind the closing one. */
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

/** The next such quote that no backslash escapes. */
function closing(text: string, from: number, quote: string): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === quote) return at;
  }
  return -1;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}
