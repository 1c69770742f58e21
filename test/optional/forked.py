"""Runs scripts one after the other: python forked.py SCRIPT.. Each runs in a process forked from this one, which has imported their
common libraries.

The output of SCRIPT goes to SCRIPT.out, its warnings and errors to SCRIPT.err, its exit status to SCRIPT.code.
"""

import os
import runpy
import sys
import traceback
from pathlib import Path

import sklearn.metrics  # noqa: F401
import torch  # noqa: F401
from transformers import AutoModelForCausalLM, BertModel, GPT2Model, T5Model, Trainer  # noqa: F401  imports lazily at the first use of a name


def run(script: str) -> None:
    for number, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{script}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.argv[:] = [script]
    sys.path[0] = str(Path(script).parent)
    code = 1
    try:
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


for script in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        run(script)
    _, status = os.waitpid(child, 0)
    Path(f"{script}.code").write_text(str(os.waitstatus_to_exitcode(status)))
