/** Shows how many inputs are answered, on standard error if that is a terminal and the answers go elsewhere. */
import type { Writable } from 'node:stream';

export function countProgress(output: Writable, screen: NodeJS.WriteStream = process.stderr): { add(count: number): void; end(): void } {
  const shown = screen.isTTY && !(output as Partial<NodeJS.WriteStream>).isTTY;
  const start = Date.now();
  let answered = 0;
  const draw = () => {
    const seconds = (Date.now() - start) / 1000;
    const rate = seconds > 0 ? `, ${Math.round(answered / seconds).toLocaleString('en-US')} a second` : '';
    screen.write(`\r\x1b[K${answered.toLocaleString('en-US')} answered${rate}`);
  };
  const timer = shown ? setInterval(draw, 200) : undefined;
  timer?.unref();
  return {
    add(count) {
      answered += count;
    },
    end() {
      if (!shown) return;
      clearInterval(timer);
      draw();
      screen.write('\n');
    },
  };
}
