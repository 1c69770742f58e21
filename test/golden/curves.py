"""Makes curves.json: ROC and precision-recall curves of scikit-learn (python curves.py, scikit-learn 1.9)."""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

rng = np.random.default_rng(5)


def case(truth, scores):
    x, y, _ = roc_curve(truth, scores, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(truth, scores)
    return {
        "truth": truth.tolist(),
        "scores": scores.tolist(),
        "roc": np.stack([x, y], 1).tolist(),
        # From the highest threshold; scikit-learn adds the point (0, 1).
        "precision_recall": np.stack([recall, precision], 1)[::-1][1:].tolist(),
        "roc_auc": roc_auc_score(truth, scores),
        "average_precision": average_precision_score(truth, scores),
    }


truth = rng.integers(0, 2, 60)
cases = [
    case(truth, np.round(rng.random(60), 6)),
    case(truth, np.round(0.4 * truth + rng.random(60), 1)),  # many ties
    case(np.array([0, 1]), np.array([0.9, 0.1])),
    case(np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.5, 0.5])),
]
(Path(__file__).parent / "curves.json").write_text(json.dumps(cases) + "\n")
