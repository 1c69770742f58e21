/** `npm run test:fast`, for the edit loop: what neither trains nor kills, and starts the command seldom. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: [
      'test/{cache,house}/*.test.ts',
      'test/engine/{fetch,pipeline,report}/*.test.ts',
      'test/engine/contract/address.test.ts',
      'test/engine/run/failed-report.test.ts',
      'test/pipelines/*.test.ts',
      'test/steps/{baseline,behavior,choose,clean,collect,drift,preview,reduce,report,select,split,tokenize}/*.test.ts',
      'test/steps/calibrate/golden.test.ts',
      'test/steps/check/*.test.ts',
      'test/steps/deploy/targets.test.ts',
      'test/steps/evaluate/{discover,fairness,slice-rows}.test.ts',
      'test/steps/require/rows.test.ts',
      'test/steps/ml/*.test.ts',
      'test/steps/ml/{answering,data,generation,metrics,models}/*.test.ts',
      'test/steps/ml/tasks/{measurement,scorer}.test.ts',
      'test/steps/serving/{admission,binary-tensors,clouds,inputs,queue,recorder}.test.ts',
      'test/steps/ml/runtime/{kernels,ops,quantize}.test.ts',
    ],
    exclude: [
      // Kills.
      'test/cache/{archive,crash,lease,turns}.test.ts',
      // Trains.
      'test/steps/ml/models/{families,generating,generating-onnx,lora,nn}.test.ts',
      // The command, or a server, many times.
      'test/engine/pipeline/{large,pipeline-cache,user-steps}.test.ts',
      'test/engine/report/screens.test.ts',
      'test/steps/reduce/foresee.test.ts',
      'test/engine/fetch/{archives,data,download,kaggle,weather}.test.ts',
      // Every character, every option, or much of it.
      'test/cache/content.test.ts',
      'test/steps/ml/data/{cleaning,hostile-text,table}.test.ts',
      'test/steps/ml/generation/golden.test.ts',
      'test/steps/split/split.test.ts',
      'test/steps/tokenize/{labels,tokenize}.test.ts',
    ],
    globalSetup: 'test/build.ts',
    testTimeout: 30_000,
    maxWorkers: 2,
  },
});
