"""Writes metrics.json: random classifications and their metrics from scikit-learn (scikit-learn 1.x; python metrics.py)."""
import json, pathlib, warnings
import numpy as np
import sklearn
from sklearn import metrics as M

warnings.filterwarnings("ignore")
rng = np.random.default_rng(7)


def ece(truth, predicted, scores, bins=15):
    confidence = scores[np.arange(len(truth)), predicted]
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for lo, hi in zip(edges[:-1], edges[1:]):
        inside = (confidence > lo) & (confidence <= hi)
        if inside.any():
            total += abs((predicted[inside] == truth[inside]).mean() - confidence[inside].mean()) * inside.mean()
    return total


def case(classes, n, missing=None, ties=False, positive=1, skew=1.0):
    truth = rng.choice(classes, n, p=rng.dirichlet(np.ones(classes) * 5))
    if missing is not None:
        truth[truth == missing] = (missing + 1) % classes
    logits = rng.normal(size=(n, classes)) + skew * np.eye(classes)[truth]
    if ties:
        logits = np.round(logits)
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predicted = scores.argmax(1)
    if missing is not None:
        predicted[predicted == missing] = (missing + 1) % classes
    v = {
        "accuracy": M.accuracy_score(truth, predicted),
        "balanced_accuracy": M.balanced_accuracy_score(truth, predicted),
        "mcc": M.matthews_corrcoef(truth, predicted),
        "log_loss": M.log_loss(truth, scores, labels=range(classes)),
        "ece": ece(truth, predicted, scores),
        "brier_score": M.brier_score_loss(truth, scores[:, 1] if classes == 2 else scores, labels=range(classes)),
    }
    for k in (3, 5):
        if classes > k:
            v[f"top_{k}_accuracy"] = M.top_k_accuracy_score(truth, scores, k=k, labels=range(classes))
    for average in ["macro", "micro", "weighted"]:
        p, r, f, _ = M.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        v |= {f"{average}_precision": p, f"{average}_recall": r, f"{average}_f1": f}
    if classes == 2:
        p, r, f, _ = M.precision_recall_fscore_support(truth, predicted, average="binary", pos_label=positive, zero_division=0)
        v |= {"precision": p, "recall": r, "f1": f}
        if len(set(truth)) == 2:
            v["roc_auc"] = M.roc_auc_score(truth == positive, scores[:, positive])
            v["average_precision"] = M.average_precision_score(truth == positive, scores[:, positive])
    elif len(set(truth)) == classes:
        v["roc_auc"] = M.roc_auc_score(truth, scores, multi_class="ovr")
        v["average_precision"] = M.average_precision_score(truth, scores, average="macro")
    # Where scikit-learn returns a number that says nothing, ours are undefined (docs/metrics.md).
    if len(set(truth)) == 1:
        del v["balanced_accuracy"], v["mcc"]
    if classes == 2 and positive not in truth:
        del v["precision"], v["recall"], v["f1"]
    return {
        "classes": classes,
        "positive": positive if classes == 2 else None,
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "scores": scores.tolist(),
        "confusion_matrix": M.confusion_matrix(truth, predicted, labels=range(classes)).tolist(),
        "metrics": {k: float(x) for k, x in v.items()},
    }


cases = [case(2, 40), case(2, 40, positive=0), case(2, 30, ties=True), case(2, 12, missing=1), case(2, 12, missing=0), case(3, 40), case(5, 60, ties=True), case(4, 30, missing=2), case(3, 5), case(2, 50, skew=4.0), case(7, 80, ties=True)]
out = pathlib.Path(__file__).with_name("metrics.json")
out.write_text(json.dumps({"scikit-learn": sklearn.__version__, "cases": cases}) + "\n")
