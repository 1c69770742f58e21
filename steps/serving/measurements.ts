/** The server's metrics in Prometheus' text format. */

export type Measurements = ReturnType<typeof openMeasurements>;

export function openMeasurements() {
  const requests = new Map<string, number>();
  let records: Record<'written' | 'lost', number> | undefined;
  const reloads = { changed: 0, failed: 0 };
  let shadows: Record<ShadowOutcome, number> | undefined;
  const seconds = histogram([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]);
  const batches = histogram([1, 2, 4, 8, 16, 32, 64]);

  return {
    request(route: string, method: string, status: number, duration: number) {
      const labels = `route="${route}",method="${method}",status="${status}"`;
      requests.set(labels, (requests.get(labels) ?? 0) + 1);
      // Only predictions are timed; the other routes would distort the distribution.
      if (route === '/predict' && status === 200) seconds.observe(duration);
    },
    batch: batches.observe,
    /** Records of requests; called at least once if the server records. */
    record(outcome: 'written' | 'lost', count: number) {
      records ??= { written: 0, lost: 0 };
      records[outcome] += count;
    },
    reload(outcome: keyof typeof reloads) {
      reloads[outcome]++;
    },
    /** Answers of the shadow; called at least once if there is one. */
    shadow(outcome: ShadowOutcome, count = 1) {
      shadows ??= { same: 0, different: 0, failed: 0, skipped: 0 };
      shadows[outcome] += count;
    },
    /** The page of /metrics. */
    text({ queued, running, waitingBytes, mostWaitingBytes }: MomentaryValues) {
      return [
        ...heading('tunesmith_requests_total', 'counter', 'Requests answered.'),
        ...[...requests].map(([labels, count]) => `tunesmith_requests_total{${labels}} ${count}`),
        ...heading('tunesmith_predict_seconds', 'histogram', 'Time to answer a POST /predict, including waiting.'),
        ...seconds.lines('tunesmith_predict_seconds'),
        ...heading('tunesmith_batch_size', 'histogram', 'Inputs per run of the model.'),
        ...batches.lines('tunesmith_batch_size'),
        ...heading('tunesmith_queue_length', 'gauge', 'Inputs that wait; for models that write, requests.'),
        `tunesmith_queue_length ${queued}`,
        ...(running === undefined
          ? []
          : [
              ...heading('tunesmith_generations_running', 'gauge', 'Requests whose texts are being generated.'),
              `tunesmith_generations_running ${running}`,
            ]),
        ...heading('tunesmith_waiting_bytes', 'gauge', 'Bytes taken by requests that are read, wait or are answered.'),
        `tunesmith_waiting_bytes ${waitingBytes}`,
        ...heading('tunesmith_waiting_bytes_limit', 'gauge', 'The most bytes that requests may take together.'),
        `tunesmith_waiting_bytes_limit ${mostWaitingBytes}`,
        ...(records
          ? heading('tunesmith_records_total', 'counter', 'Inputs and answers that were recorded, or lost because of the disk.')
          : []),
        ...Object.entries(records ?? {}).map(([outcome, count]) => `tunesmith_records_total{outcome="${outcome}"} ${count}`),
        ...heading('tunesmith_reloads_total', 'counter', 'New bundles that were opened, or could not be used.'),
        ...Object.entries(reloads).map(([outcome, count]) => `tunesmith_reloads_total{outcome="${outcome}"} ${count}`),
        ...(shadows ? shadowLines(shadows) : []),
        ...heading('process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes.'),
        `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
        '',
      ].join('\n');
    },
  };
}

interface MomentaryValues {
  /** Inputs, or requests to write, that wait. */
  queued: number;
  /** Requests whose texts are being generated; undefined for models that predict. */
  running: number | undefined;
  /** Bytes of all requests, at most `mostWaitingBytes`. */
  waitingBytes: number;
  mostWaitingBytes: number;
}

/** `skipped`: the shadow was busy. */
type ShadowOutcome = 'same' | 'different' | 'failed' | 'skipped';

function shadowLines(shadows: Record<ShadowOutcome, number>): string[] {
  const compared = shadows.same + shadows.different;
  return [
    ...heading('tunesmith_shadow_total', 'counter', 'Answers of the shadow bundle, and requests that it did not answer.'),
    ...Object.entries(shadows).map(([outcome, count]) => `tunesmith_shadow_total{outcome="${outcome}"} ${count}`),
    ...heading('tunesmith_shadow_different_share', 'gauge', 'Share of the compared answers that differ; NaN before the first.'),
    `tunesmith_shadow_different_share ${compared === 0 ? 'NaN' : shadows.different / compared}`,
  ];
}

function heading(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function histogram(bounds: number[]) {
  const counts = bounds.map(() => 0);
  let count = 0;
  let sum = 0;
  return {
    observe(value: number) {
      count++;
      sum += value;
      for (const [i, bound] of bounds.entries()) if (value <= bound) counts[i]!++;
    },
    lines(name: string): string[] {
      return [
        ...bounds.map((bound, i) => `${name}_bucket{le="${bound}"} ${counts[i]}`),
        `${name}_bucket{le="+Inf"} ${count}`,
        `${name}_sum ${sum}`,
        `${name}_count ${count}`,
      ];
    },
  };
}
