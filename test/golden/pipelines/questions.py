"""
Writes a small model that answers questions, and what the question-answering pipeline of transformers 4 answers with it:
python questions.py     (torch; transformers 5 has no such pipeline, so the script installs transformers 4 into a temporary folder)
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

try:
    from transformers import QuestionAnsweringPipeline
except ImportError:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder, "transformers==4.57.6", "numpy"], check=True)
        sys.exit(subprocess.run([sys.executable, __file__], env={**os.environ, "PYTHONPATH": folder}).returncode)

from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering, BertTokenizer

here = Path(__file__).parent
golden = Path(os.environ.get("TUNESMITH_GOLDEN", here.parent))
config = BertConfig(
    vocab_size=340,
    hidden_size=12,
    num_hidden_layers=1,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=64,
    initializer_range=0.9,
)
torch.manual_seed(17)
model = BertForQuestionAnswering(config).eval()
model.save_pretrained(here / "answer")
tokenizer = AutoTokenizer.from_pretrained(golden / "tokenizer" / "bert-uncased", model_max_length=64)
run = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer)
short = "the cat sat on the mat. monday notes: the unhappy cats, and rats!"
contexts = [short, "the \N{GRINNING FACE} cat sat on caf\u00e9s", " ".join([short, "cafes on the mat and the rats of monday sat"] * 6)]
parameters = [
    {},
    {"top_k": 3},
    {"top_k": 20},
    {"top_k": 2, "align_to_words": False},
    {"top_k": 4, "max_answer_len": 1},
    {"top_k": 3, "max_answer_len": 40},
    {"top_k": 3, "handle_impossible_answer": True},
    {"handle_impossible_answer": True},
    {"top_k": 3, "max_seq_len": 24},
    {"top_k": 3, "max_seq_len": 32, "doc_stride": 3},
    {"top_k": 5, "doc_stride": 40, "handle_impossible_answer": True},
    {"doc_stride": 0},
]
answers = []
for context in contexts:
    for given in parameters:
        inputs = {"question": "where is the cat?", "context": context}
        answers.append({"inputs": inputs, "parameters": given, "answer": run(**inputs, **given)})
# transformers shortens a question only with its slow tokenizers: here the question is shortened before.
slow = BertTokenizer.from_pretrained(golden / "tokenizer" / "bert-uncased")
question = "where is the unhappy cat of the monday notes, and where are the rats?"
for length in (1, 5, 9):
    ids = slow.encode(question, add_special_tokens=False, truncation=True, max_length=length)
    inputs = {"question": question, "context": contexts[2]}
    shortened = {**inputs, "question": slow.decode(ids).replace(" ##", "")}
    assert slow.encode(shortened["question"], add_special_tokens=False) == ids
    given = {"top_k": 3, "max_question_len": length}
    answers.append({"inputs": inputs, "parameters": given, "answer": run(**shortened, top_k=3)})
(here / "questions.json").write_text(json.dumps(answers, indent=1) + "\n")
