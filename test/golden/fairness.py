"""Writes fairness.json: fairness between groups, from fairlearn (fairlearn 0.15; python fairness.py).

Labels and predictions are random. Each case has at least one positive and one negative row in each group, because
fairlearn counts an undefined rate as 0. One case has no false positive at all.
"""
import json, pathlib, warnings
import numpy as np
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    equalized_odds_ratio,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from sklearn.metrics import accuracy_score

warnings.filterwarnings("ignore")
rng = np.random.default_rng(18)


def case(n, groups, bias, no_false_positive=False):
    group = rng.integers(0, groups, n)
    truth = (rng.random(n) < 0.3 + 0.1 * group).astype(int)
    truth[: 2 * groups] = np.tile([0, 1], groups)
    group[: 2 * groups] = np.repeat(np.arange(groups), 2)
    predicted = np.where(rng.random(n) < 0.2 + bias * group, 1, truth)
    if no_false_positive:
        predicted = predicted * truth
    names = np.array(["a", "b", "c", "d"])[group]
    own = dict(sensitive_features=names)
    rates = {
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
        "accuracy": accuracy_score,
    }
    frame = MetricFrame(metrics=rates, y_true=truth, y_pred=predicted, **own)
    return {
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "group": names.tolist(),
        "by_group": {name: frame.by_group.loc[name].to_dict() for name in sorted(set(names))},
        "metrics": {
            "demographic_parity_difference": demographic_parity_difference(truth, predicted, **own),
            "demographic_parity_ratio": demographic_parity_ratio(truth, predicted, **own),
            "equalized_odds_difference": equalized_odds_difference(truth, predicted, **own),
            "equalized_odds_ratio": equalized_odds_ratio(truth, predicted, **own),
        },
    }


cases = [case(60, 2, 0.2), case(120, 3, 0.1), case(200, 4, 0.05), case(40, 2, 0.1, no_false_positive=True)]
file = pathlib.Path(__file__).parent / "fairness.json"
file.write_text(json.dumps(cases) + "\n")
