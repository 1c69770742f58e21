/**
 * onnxruntime-node with its telemetry disabled; nothing else imports the package. From 1.29 on its builds report
 * every session to Microsoft, with the names and hashes of models, and leave a database in ~/.cache. Training must
 * stay private. The variable is read when the first session opens
 * (https://github.com/microsoft/onnxruntime/pull/27379).
 */
export * from 'onnxruntime-node';

process.env.ORT_DISABLE_TELEMETRY ??= '1';
