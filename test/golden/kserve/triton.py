"""
Writes the bytes of requests with binary tensors, and what answers with binary tensors mean, with Triton's own client:
python triton.py > triton.json     (tritonclient, which the script installs into a temporary folder if it is missing)
"""

import base64
import json
import os
import subprocess
import sys
import tempfile

try:
    import tritonclient.http as triton
except ImportError:
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "-q", "--target", folder, "tritonclient[http]==2.73.0"]
        subprocess.run(install, check=True, stdout=sys.stderr)
        sys.exit(subprocess.run([sys.executable, __file__], env={**os.environ, "PYTHONPATH": folder}).returncode)

import numpy

TEXTS = ["the cat sat", "", "caf\u00e9s \N{GRINNING FACE}\n\"on\" the mat"]


def request(texts, shape, outputs=None, **more):
    tensor = triton.InferInput("text", shape, "BYTES")
    tensor.set_data_from_numpy(numpy.array([text.encode() for text in texts], dtype=object).reshape(shape))
    body, length = triton.InferenceServerClient.generate_request_body([tensor], outputs=outputs, **more)
    return {"body": base64.b64encode(body).decode(), "json": length}


requests = {
    "all outputs, binary by default": request(TEXTS, [3]),
    "rows of one text": request(TEXTS, [3, 1], request_id="7"),
    "outputs by name": request(TEXTS, [3], [triton.InferRequestedOutput("scores"), triton.InferRequestedOutput("label", binary_data=False)]),
}
json.dump({"texts": TEXTS, "requests": requests}, sys.stdout, indent=1)
