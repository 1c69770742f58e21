"""Writes random answers of the tasks, and their metrics from the reference libraries: python task-metrics.py > task-metrics.json
(scikit-learn and scipy for label sets and numbers, seqeval for entities, torchmetrics for SQuAD's exact match and F1)."""

import json
import sys
import warnings

import numpy as np
from scipy import stats
from seqeval import metrics as S
from sklearn import metrics as M
from torchmetrics.functional.text import squad

warnings.filterwarnings("ignore")
rng = np.random.default_rng(11)
ranking = np.random.default_rng(12)


def label_sets(rows, labels, share):
    truth = (rng.random((rows, labels)) < share).astype(int)
    predicted = np.where(rng.random((rows, labels)) < 0.75, truth, 1 - truth)
    if labels > 3:
        truth[:, 3] = 0  # a label that never applies
    values = {"accuracy": M.accuracy_score(truth, predicted), "hamming_loss": M.hamming_loss(truth, predicted)}
    for average in ("micro", "macro", "weighted", "samples"):
        for name in ("precision", "recall", "f1"):
            values[f"{average}_{name}"] = getattr(M, f"{name}_score")(truth, predicted, average=average, zero_division=0)
    scores = np.round(np.clip(truth * 0.3 + ranking.random((rows, labels)) * 0.7, 0, 1), 2)
    defined = all(0 < truth[:, k].sum() < rows for k in range(labels))
    values["roc_auc"] = M.roc_auc_score(truth, scores) if defined else None
    values["average_precision"] = M.average_precision_score(truth, scores) if truth.any(axis=0).all() else None
    # scikit-learn's log_loss of a matrix takes each row for one distribution, so both losses are those of each label.
    binary = {"log_loss": lambda t, p: M.log_loss(t, p, labels=[0, 1]), "brier_score": lambda t, p: M.brier_score_loss(t, p, pos_label=1, labels=[0, 1])}
    for name, loss in binary.items():
        values[name] = float(np.mean([loss(truth[:, k], scores[:, k]) for k in range(labels)]))
    return {"truth": truth.tolist(), "predicted": predicted.tolist(), "scores": scores.tolist(), "values": values}


def numbers(truth, predicted):
    values = {
        "mse": M.mean_squared_error(truth, predicted),
        "rmse": M.root_mean_squared_error(truth, predicted),
        "mae": M.mean_absolute_error(truth, predicted),
        "r2": M.r2_score(truth, predicted),
        "pearson": stats.pearsonr(truth, predicted).statistic,
        "spearman": stats.spearmanr(truth, predicted).statistic,
    }
    return {"truth": truth.tolist(), "predicted": predicted.tolist(), "values": values}


def constant(truth, predicted):
    """The correlation is undefined here."""
    return {"truth": truth, "predicted": predicted, "r2": M.r2_score(truth, predicted)}


def entities(tags, sentences):
    truth, predicted = [], []
    for _ in range(sentences):
        length = int(rng.integers(1, 12))
        real = rng.choice(tags, length)
        truth.append(real.tolist())
        predicted.append(np.where(rng.random(length) < 0.7, real, rng.choice(tags, length)).tolist())
    values = {
        "accuracy": S.accuracy_score(truth, predicted),
        "precision": S.precision_score(truth, predicted, zero_division=0),
        "recall": S.recall_score(truth, predicted, zero_division=0),
        "f1": S.f1_score(truth, predicted, zero_division=0),
        "macro_f1": S.f1_score(truth, predicted, average="macro", zero_division=0),
    }
    return {"truth": truth, "predicted": predicted, "values": values}


ANSWERS = [
    (["the Eiffel Tower"], "Eiffel tower."),
    (["in 1889", "1889"], "1889"),
    (["a cat and a dog"], "the dog and the dog"),
    (["Zoë's café"], "zoës Café"),
    (["U.S. Navy"], "the US navy"),
    (["New  York\nCity"], "york city new"),
    (["one two two three"], "two two two"),
    (["42%"], "42"),
    (["another thing"], "thing"),
    (["left", "right hand side"], "the right hand"),
]


def answers(pairs):
    preds = [{"prediction_text": said, "id": str(i)} for i, (_, said) in enumerate(pairs)]
    target = [{"answers": {"text": real, "answer_start": [0] * len(real)}, "id": str(i)} for i, (real, _) in enumerate(pairs)]
    found = squad(preds, target)
    values = {"exact_match": found["exact_match"].item() / 100, "f1": found["f1"].item() / 100}
    return {"truth": [real for real, _ in pairs], "predicted": [said for _, said in pairs], "values": values}


IOB2 = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
IOBES = ["O", "B-A-x", "I-A-x", "E-A-x", "S-A-x", "S-B", "E-B"]
truth = rng.normal(size=60)
rounded = np.round(rng.normal(size=40), 0)
json.dump(
    {
        "label_sets": [label_sets(50, 5, 0.3), label_sets(7, 2, 0.5), label_sets(1, 3, 0.9)],
        "numbers": [numbers(truth, truth + rng.normal(size=60)), numbers(rounded, np.round(rounded + rng.normal(size=40), 0))],
        "constants": [constant([2.5, 2.5, 2.5], [2.5, 1.0, 4.0]), constant([2.5, 2.5], [2.5, 2.5])],
        "entities": [entities(IOB2, 60), entities(IOBES, 60), entities(["O", "I-PER", "I-LOC"], 20)],
        "answers": [answers(ANSWERS)] + [answers([pair]) for pair in ANSWERS],
    },
    sys.stdout,
)
