"""Writes random logits and labels, the temperatures that SciPy finds for them, and the thresholds that scikit-learn chooses:
python calibration.py > calibration.json"""

import json

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import log_loss, precision_recall_curve
from sklearn.model_selection import TunedThresholdClassifierCV

rng = np.random.default_rng(7)


def temperature(loss):
    """Temperature scaling (Guo et al. 2017): one scalar that minimizes the negative log-likelihood."""
    found = minimize_scalar(lambda t: loss(np.exp(t)), bounds=np.log([0.01, 100]), method="bounded", options={"xatol": 1e-12})
    return float(np.exp(found.x)), float(loss(1.0)), float(found.fun)


def of_several(rows, labels, scale):
    logits = rng.normal(size=(rows, labels))
    probabilities = np.exp(log_softmax(logits, axis=1))
    truth = np.array([rng.choice(labels, p=p) for p in probabilities])
    logits = np.float32(np.round(logits * scale, 4)).astype(float)
    found, before, after = temperature(lambda t: log_loss(truth, np.exp(log_softmax(logits / t, axis=1)), labels=range(labels)))
    return {"logits": logits.tolist(), "truth": truth.tolist(), "temperature": found, "before": before, "after": after}


def any_number(rows, labels, scale):
    logits = rng.normal(size=(rows, labels)) - 1
    truth = (rng.random((rows, labels)) < expit(logits)).astype(int)
    logits = np.float32(np.round(logits * scale, 4)).astype(float)

    def loss(t):
        return -np.mean(truth * log_expit(logits / t) + (1 - truth) * log_expit(-logits / t))

    found, before, after = temperature(loss)
    return {"logits": logits.tolist(), "truth": truth.tolist(), "temperature": found, "before": before, "after": after}


class Given(ClassifierMixin, BaseEstimator):
    """Its scores are its inputs."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])

    def predict(self, X):
        return (X[:, 0] >= 0.5).astype(int)


def thresholds(rows, share, ties):
    truth = (rng.random(rows) < share).astype(int)
    scores = np.round(expit(2 * truth - 1.5 + rng.normal(size=rows) * 1.5), 2 if ties else 6)
    distinct = np.unique(scores)
    # Midway between neighbouring scores.
    between = np.concatenate([[distinct[0] / 2], (distinct[:-1] + distinct[1:]) / 2])
    chosen = {}
    for metric in ("f1", "accuracy", "balanced_accuracy", "mcc"):
        scoring = {"mcc": "matthews_corrcoef"}.get(metric, metric)
        # One threshold above all scores, which predicts the label for no example.
        candidates = np.concatenate([between, [(distinct[-1] + 1) / 2]])
        tuned = TunedThresholdClassifierCV(Given().fit(None, None), scoring=scoring, thresholds=candidates, cv="prefit", refit=False)
        chosen[metric] = float(tuned.fit(scores[:, None], truth).best_threshold_)
    precision, recall, at = precision_recall_curve(truth, scores)
    required = []
    for name, value in (("precision", 0.6), ("precision", 0.8), ("recall", 0.7), ("recall", 0.9)):
        needed, other = (precision, recall) if name == "precision" else (recall, precision)
        fits = [i for i in range(len(at)) if needed[i] >= value]
        best = max(fits, key=lambda i: (other[i], needed[i]))
        threshold = between[np.searchsorted(distinct, at[best])]
        required.append({"of": name, "value": value, "threshold": float(threshold), "precision": precision[best], "recall": recall[best]})
    return {"scores": scores.tolist(), "truth": truth.tolist(), "chosen": chosen, "required": required}


print(
    json.dumps(
        {
            "of_several": [of_several(200, 2, 3), of_several(150, 5, 2.5), of_several(150, 3, 0.3)],
            "any_number": [any_number(100, 4, 2), any_number(100, 3, 0.5)],
            "thresholds": [thresholds(200, 0.3, False), thresholds(120, 0.5, True), thresholds(150, 0.06, False)],
        }
    )
)
