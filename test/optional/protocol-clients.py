"""Asks servers through clients in Python: python protocol-clients.py CLASSIFY GPT2 KEY"""

import json
import sys
from urllib.parse import urlsplit

import numpy
import tritonclient.http as triton
from huggingface_hub import InferenceClient

classify, gpt2, key = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}"}
client = triton.InferenceServerClient(urlsplit(classify).netloc)
texts = ["the cat sat", "", "caf\u00e9s \N{GRINNING FACE}"]
tensor = triton.InferInput("text", [3], "BYTES")
tensor.set_data_from_numpy(numpy.array([text.encode() for text in texts], dtype=object))
binary = client.infer("tiny", [tensor], headers=headers)
plain = client.infer("tiny", [tensor], outputs=[triton.InferRequestedOutput(n, binary_data=False) for n in ("label", "scores")], headers=headers)
try:
    client.infer("tiny", [tensor], headers=headers, request_compression_algorithm="gzip")
    compressed = None
except Exception as error:
    compressed = str(error)

writer = InferenceClient(gpt2, token=key)
options = dict(max_new_tokens=6, do_sample=False)
stream = list(writer.text_generation("Hello", stream=True, details=True, **options))
whole = writer.text_generation("Hello", details=True, **options)
json.dump(
    {
        "texts": texts,
        "live": client.is_server_live(),
        "ready": client.is_model_ready("tiny"),
        "labels": [label.decode() for label in binary.as_numpy("label")],
        "scores": binary.as_numpy("scores").tolist(),
        "same": plain.as_numpy("scores").tolist() == binary.as_numpy("scores").tolist(),
        "compressed": compressed,
        "streamed": "".join(event.token.text for event in stream),
        "last": [stream[-1].generated_text, stream[-1].details.finish_reason, stream[-1].details.generated_tokens],
        "whole": [whole.generated_text, whole.details.finish_reason, [token.logprob for token in whole.details.tokens]],
        "logprobs": [event.token.logprob for event in stream],
    },
    sys.stdout,
)
