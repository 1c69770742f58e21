/** The choice of files of a repository. */
import { expect, test } from 'vitest';
import { type HubAddress, readAddress } from '../../../engine/contract/address.ts';
import { chooseFiles } from '../../../engine/fetch/choose-files.ts';

function taken(names: string[], address = 'hf://owner/name'): string[] {
  return chooseFiles(names, readAddress(address) as HubAddress).files;
}

test('a sharded model: the shards of its index, not the same weights in another format', () => {
  const wanted = [
    'config.json',
    'generation_config.json',
    'tokenizer.json',
    'tokenizer.model',
    'chat_template.jinja',
    'LICENSE',
    'model.safetensors.index.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
  ];
  const others = [
    '.gitattributes',
    'consolidated.safetensors',
    'consolidated.00.pth',
    'pytorch_model.bin.index.json',
    'pytorch_model-00001-of-00002.bin',
    'original/params.json',
    'tf_model.h5',
    'flax_model.msgpack',
    'model.gguf',
    'training_args.bin',
    'trainer_state.json',
    'checkpoint-500/config.json',
    'checkpoint-500/model.safetensors',
    'onnx/model.onnx',
    'onnx/model.onnx_data',
    'openvino/openvino_model.xml',
    'runs/events.out',
    'figure.png',
  ];
  expect(taken([...others, ...wanted]).sort()).toEqual([...wanted].sort());
});

test('one file of weights takes precedence over its variants; modules have their own', () => {
  const names = [
    'config.json',
    'model.safetensors',
    'model.fp16.safetensors',
    'modules.json',
    '1_Pooling/config.json',
    '2_Dense/config.json',
    '2_Dense/model.safetensors',
    '2_Dense/pytorch_model.bin',
  ];
  expect(taken(names)).toEqual(names.filter((name) => !/fp16|\.bin$/.test(name)).sort());
  expect(taken(['config.json', 'model.fp16.safetensors'])).toEqual(['config.json', 'model.fp16.safetensors']);
});

test('a configuration without weights is a model with random weights; a repository of another kind is used completely', () => {
  expect(taken(['config.json', 'tokenizer.json'])).toEqual(['config.json', 'tokenizer.json']);
  expect(taken(['vectors.npy', 'words.txt', '.gitattributes'])).toEqual(['vectors.npy', 'words.txt']);
});

test('weights in an unsupported format only', () => {
  expect(() => taken(['config.json', 'pytorch_model.bin'])).toThrow('has its weights only as pytorch_model.bin, a pickle');
  expect(() => taken(['config.json', 'pytorch_model-00001-of-00002.bin'])).toThrow('a pickle');
  expect(() => taken(['config.json', 'tf_model.h5'])).toThrow('has its weights only as tf_model.h5; tunesmith reads only safetensors');
  expect(() => taken(['pytorch_model.bin', 'README.md'])).toThrow('a pickle');
  // With an explicit path, it is an ordinary file.
  expect(taken(['config.json', 'pytorch_model.bin'], 'hf://owner/name/pytorch_model.bin')).toEqual(['pytorch_model.bin']);
});

test.each([
  ['data/*.csv', ['data/a.csv', 'data/part-08.csv', 'data/part-09.csv', 'data/part-10.csv', 'data/part-9.csv']],
  ['data/part-{08..10}.csv', ['data/part-08.csv', 'data/part-09.csv', 'data/part-10.csv']],
  ['**/{a,c}.csv', ['data/a.csv', 'c.csv', 'data/deep/c.csv']],
  ['{data,other}/[!a]*-9.csv', ['data/part-9.csv']],
  ['data/part-?.csv', ['data/part-9.csv']],
  ['data/**', ['data/a.csv', 'data/part-08.csv', 'data/part-09.csv', 'data/part-10.csv', 'data/part-9.csv', 'data/deep/c.csv']],
  ['*.csv', ['c.csv']],
])('the glob %s', (glob, found) => {
  const names = [
    'data/a.csv',
    'data/part-08.csv',
    'data/part-09.csv',
    'data/part-10.csv',
    'data/part-9.csv',
    'c.csv',
    'data/deep/c.csv',
    '.hidden.csv',
    'data/.x.csv',
  ];
  expect(taken(names, `hf://datasets/owner/name/${glob}`).sort()).toEqual([...found].sort());
});

test('an empty repository', () => {
  expect(() => taken([])).toThrow('hf://owner/name is empty');
});

test('one model of a folder of models', () => {
  const names = ['a/config.json', 'a/model.safetensors', 'a/pytorch_model.bin', 'b/config.json'];
  expect(chooseFiles(names, readAddress('hf://owner/name/a') as HubAddress)).toEqual({
    files: ['a/config.json', 'a/model.safetensors'],
    given: ['a'],
  });
});
