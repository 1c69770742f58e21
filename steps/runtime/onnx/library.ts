/**
 * onnxruntime-node, whose telemetry is off; nothing else imports the package. From 1.29 on its builds tell Microsoft of every
 * session, the names and hashes of models with it, and leave a database in ~/.cache: what a user trains is nobody's business.
 * The variable is read when the first session opens (https://github.com/microsoft/onnxruntime/pull/27379).
 */
export * from 'onnxruntime-node';

process.env.ORT_DISABLE_TELEMETRY ??= '1';
