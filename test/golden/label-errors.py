"""Writes label-errors.json: labels, probabilities, and what cleanlab 2.9 finds in them (python label-errors.py)."""
import functools, json, pathlib, warnings
import numpy as np

# numpy's default sort orders equal values by the instructions of the processor. cleanlab calls np.argsort.
np.argsort = functools.partial(np.argsort, kind="stable")

import cleanlab, sklearn
from cleanlab.count import compute_confident_joint, get_confident_thresholds
from cleanlab.filter import find_label_issues
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
FILTERS = [
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
]
rng = np.random.default_rng(11)


def found(labels, probabilities):
    joint = lambda calibrate: compute_confident_joint(labels, probabilities, calibrate=calibrate).tolist()
    issues = lambda name: find_label_issues(labels, probabilities, filter_by=name, return_indices_ranked_by="self_confidence", n_jobs=1).tolist()
    return {
        "labels": labels.tolist(),
        "probabilities": probabilities.tolist(),
        "thresholds": get_confident_thresholds(labels, probabilities).tolist(),
        "counted": joint(False),
        "calibrated": joint(True),
        "issues": {name: issues(name) for name in FILTERS},
    }


def case(classes, n, noise, skill, rare=None):
    """Probabilities of a model that knows the true class to some degree, and labels of which some are wrong."""
    share = np.ones(classes)
    if rare is not None:
        share[rare] = 0.05
    truth = rng.choice(classes, n, p=share / share.sum())
    truth[:classes] = np.arange(classes)
    labels = np.where(rng.random(n) < noise, rng.integers(0, classes, n), truth)
    labels[:classes] = np.arange(classes)
    logits = rng.normal(size=(n, classes)) + skill * np.eye(classes)[truth]
    scores = np.exp(logits)
    return found(labels, scores / scores.sum(1, keepdims=True))


WORDS = "goal match team player season market shares profit bank price film actor music stage song the a of and in".split()


def texts(n):
    """Out-of-fold probabilities of scikit-learn's tf-idf and logistic regression; the folds are given."""
    truth = rng.integers(0, 3, n)
    weight = lambda k: np.where([5 * k <= i < 5 * k + 5 for i in range(len(WORDS))], 3.0, 1.0)
    rows = [" ".join(rng.choice(WORDS, rng.integers(4, 12), p=weight(k) / weight(k).sum())) for k in truth]
    labels = np.where(rng.random(n) < 0.12, rng.integers(0, 3, n), truth)
    folds = np.empty(n, int)
    for k in range(3):
        folds[labels == k] = np.arange((labels == k).sum()) % 4
    probabilities = np.zeros((n, 3))
    for fold in range(4):
        inside = [rows[i] for i in range(n) if folds[i] != fold]
        vectorizer = TfidfVectorizer().fit(inside)
        model = LogisticRegression(tol=1e-10, max_iter=10000).fit(vectorizer.transform(inside), labels[folds != fold])
        probabilities[folds == fold] = model.predict_proba(vectorizer.transform([rows[i] for i in range(n) if folds[i] == fold]))
    return {"texts": rows, "folds": folds.tolist(), **found(labels, probabilities)}


cases = [case(2, 60, 0.2, 1.5), case(3, 80, 0.3, 1.0), case(5, 100, 0.1, 2.0), case(4, 70, 0.4, 0.5, rare=2), case(2, 12, 0.0, 4.0), case(3, 9, 0.5, 0.2), case(10, 120, 0.2, 1.5, rare=7)]
out = pathlib.Path(__file__).with_name("label-errors.json")
versions = {"cleanlab": cleanlab.__version__, "scikit-learn": sklearn.__version__}
out.write_text(json.dumps({"versions": versions, "cases": cases, "texts": texts(90)}) + "\n")
