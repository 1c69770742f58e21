/** The options of `tunesmith serve`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { PROTOCOL_NAMES, type serving } from '../../steps/registry.ts';
import { count, names, number, port, share, texts } from './option-values.ts';

type ServeOptions = NonNullable<Parameters<Awaited<ReturnType<typeof serving>>['serve']>[1]>;

/** The limits have flags of their own. */
export interface ServeFlags extends Omit<ServeOptions, 'limits' | 'say'> {
  maxCharacters: number;
  maxNewTokens: number;
  maxTime: number;
}

export function addServingOptions(command: Command): Command {
  const others = PROTOCOL_NAMES.filter((name) => name !== 'tunesmith').join(', ');
  return command
    .addOption(new Option('--host <host>', 'address to listen on').default('127.0.0.1'))
    .addOption(new Option('--port <port>', 'port to listen on; 0 selects a free port').argParser(port).default(8080))
    .option(
      '--allow-host <name>',
      'also accept requests for this host name (repeatable). Loopback names are always accepted. If --host is not a loopback address and this option is not given, every name is accepted',
      texts,
    )
    .option('--allow-origin <origin>', 'allow web pages of this origin to send requests (repeatable)', texts)
    .addOption(
      new Option('--api <names>', `protocols to serve besides tunesmith, separated by commas (repeatable): ${others}`).argParser(names),
    )
    .option(
      '--api-key-file <file>',
      'accept only requests with an API key from this file: one KEY, NAME:KEY or NAME:sha256:HEX on each line',
    )
    .addOption(
      new Option('--rate-limit <n>', 'maximum number of requests per second for each API key, or for each address').argParser(rate),
    )
    .option('--tls-cert <file>', 'serve HTTPS with this certificate, in PEM')
    .option('--tls-key <file>', 'private key of the certificate, in PEM')
    .option('--access-log <file>', 'write one line of JSON for each request to this file; - for stdout')
    .option('--trace-endpoint <url>', 'send OpenTelemetry traces to this collector (OTLP over HTTP), such as http://localhost:4318')
    .option('--watch', 'reload the bundle whenever the pointer or a file of the bundle changes')
    .option('--shadow <bundle>', 'let a second bundle answer too, and only count how many of its answers differ')
    .addOption(new Option('--shadow-share <x>', 'share of the requests for the second bundle, such as 0.1 (default: 1)').argParser(share))
    .addOption(
      new Option('--max-characters <n>', 'maximum length of an input or a prompt, in characters').argParser(count).default(100_000),
    )
    .addOption(new Option('--max-new-tokens <n>', 'maximum number of tokens to generate for each text').argParser(count).default(1024))
    .addOption(new Option('--max-time <seconds>', 'maximum time of a generation request, in seconds').argParser(count).default(60))
    .addOption(
      new Option('--shutdown-seconds <n>', 'after SIGTERM, maximum time to finish the current requests, in seconds')
        .argParser(count)
        .default(25),
    )
    .option('--record <dir>', 'record requests and answers in this folder, as JSON lines in one file a day. They may be personal data')
    .addOption(new Option('--record-share <x>', 'share of the requests to record, such as 0.1 (default: 1)').argParser(share));
}

/** Requests per second. */
function rate(text: string): number {
  const value = number(text);
  if (!(value > 0 && value <= 1_000_000)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}
