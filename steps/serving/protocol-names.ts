/** The names of the protocols, apart from their code, so that the command line can list them without loading it. */
export const PROTOCOL_NAMES = ['tunesmith', 'huggingface', 'kserve', 'openai', 'sagemaker', 'vertex', 'azureml'] as const;

export type ProtocolName = (typeof PROTOCOL_NAMES)[number];
