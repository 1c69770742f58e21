"""Writes bootstrap intervals of scipy.stats.bootstrap with the samples that they were made from, distribution functions of scipy,
and McNemar tests of statsmodels: python intervals.py > intervals.json"""

import json
import sys
import warnings

import numpy as np
from scipy import stats
from sklearn import metrics as M
from statsmodels.stats.contingency_tables import mcnemar

warnings.filterwarnings("ignore")
rng = np.random.default_rng(5)
RESAMPLES = 199


def leaving_one_out(data, statistic):
    return [[statistic(*data[:j], np.delete(sample, i), *data[j + 1 :]) for i in range(len(sample))] for j, sample in enumerate(data)]


def interval(name, data, statistic, level):
    case = {"name": name, "level": level, "data": [sample.tolist() for sample in data], "value": float(statistic(*data))}
    case["jackknife"] = leaving_one_out(data, statistic)
    for method in ("BCa", "percentile"):
        made = stats.bootstrap(
            data, statistic, n_resamples=RESAMPLES, vectorized=False, confidence_level=level, method=method, rng=np.random.default_rng(3)
        )
        case["replicates"] = made.bootstrap_distribution.tolist()
        case[method.lower()] = [made.confidence_interval.low, made.confidence_interval.high]
    return case


def ranked(misses, hits):
    # Rounded, so that equal values are equal: scipy counts how many samples are below the value.
    return round(float(M.roc_auc_score([0] * len(misses) + [1] * len(hits), np.concatenate([misses, hits]))), 12)


def intervals():
    skewed = rng.exponential(size=40)
    few = (rng.random(60) < 0.9).astype(float)
    strata = (rng.normal(size=25), rng.normal(1.2, size=15))
    return [
        interval("mean of skewed numbers", (skewed,), lambda x: float(np.mean(x)), 0.95),
        interval("accuracy", (few,), lambda x: float(np.mean(x)), 0.9),
        interval("root of a mean", (skewed,), lambda x: float(np.sqrt(np.mean(x**2))), 0.8),
        interval("roc_auc, stratified", strata, ranked, 0.95),
    ]


def close():
    """With more samples, to compare with samples of our own."""
    numbers = rng.exponential(size=120)
    made = stats.bootstrap((numbers,), np.mean, n_resamples=200_000, method="BCa", rng=np.random.default_rng(4), batch=1000)
    return {"data": numbers.tolist(), "bca": [made.confidence_interval.low, made.confidence_interval.high]}


def paired():
    """The difference of the F1 of two models on the same examples. The p-value is twice the share of samples with the other sign or none."""
    own = np.random.default_rng(6)
    truth = (own.random(90) < 0.4).astype(int)
    first, second = [np.where(own.random(90) < wrong, 1 - truth, truth) for wrong in (0.3, 0.2)]

    def difference(t, a, b):
        return round(float(M.f1_score(t, b) - M.f1_score(t, a)), 12)

    made = stats.bootstrap(
        (truth, first, second),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(7),
    )
    values = made.bootstrap_distribution
    tail = min(np.sum(values <= 0), np.sum(values >= 0))
    return {
        "truth": truth.tolist(),
        "first": first.tolist(),
        "second": second.tolist(),
        "difference": difference(truth, first, second),
        "replicates": values.tolist(),
        "percentile": [made.confidence_interval.low, made.confidence_interval.high],
        "p": float(min(1, 2 * (1 + tail) / (1 + len(values)))),
    }


def discordant(first, second):
    return {"first": first, "second": second} | {
        key: {"statistic": float(result.statistic), "p": float(result.pvalue)}
        for key, result in {
            "exact": mcnemar([[10, first], [second, 5]], exact=True),
            "chi2": mcnemar([[10, first], [second, 5]], exact=False, correction=True),
        }.items()
        if first + second > 0 or key == "exact"
    }


x = [-9.0, -7.2, -3.0, -1.0, -0.2, 0.0, 0.4, 2.0, 6.0, 8.5]
p = [1e-300, 1e-12, 1e-5, 0.01, 0.07, 0.3, 0.5, 0.6, 0.92, 0.95, 0.999, 1 - 1e-10]
values = {
    "intervals": intervals(),
    "close": close(),
    "mcnemar": [discordant(*pair) for pair in [(0, 0), (1, 0), (3, 9), (12, 12), (2, 22), (10, 15), (40, 22), (300, 340), (13, 13)]],
    "paired": paired(),
    "normal": {"x": x, "cdf": stats.norm.cdf(x).tolist(), "p": p, "quantile": stats.norm.ppf(p).tolist()},
}
json.dump(values, sys.stdout)
print()
