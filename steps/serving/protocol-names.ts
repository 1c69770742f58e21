/** The names of the protocols, apart from their code, so that the command line can list them without loading it. */
export const PROTOCOL_NAMES = ['tunesmith', 'sagemaker', 'vertex', 'azureml'] as const;

export type ProtocolName = (typeof PROTOCOL_NAMES)[number];
