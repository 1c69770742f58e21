"""The server that most guides show, for serve.ts: FastAPI, transformers and torch. The model's folder and the port are arguments."""
import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, port = sys.argv[1], int(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
app = FastAPI()


class Request(BaseModel):
    inputs: str


@app.post("/predict")
def predict(request: Request):
    encoded = tokenizer(request.inputs, truncation=True, max_length=128, return_tensors="pt")
    with torch.inference_mode():
        scores = torch.softmax(model(**encoded).logits[0], -1)
    best = int(scores.argmax())
    return {"label": model.config.id2label[best], "score": float(scores[best])}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
