"""Writes figures of drift: the population stability index by NumPy, and tests and distribution functions of scipy:
python drift.py > drift.json"""

import json

import numpy as np
from scipy import special, stats

rng = np.random.default_rng(19)
EMPTY = 1e-4


def index(reference, current):
    was = np.maximum(np.asarray(reference) / np.sum(reference), EMPTY)
    now = np.maximum(np.asarray(current) / np.sum(current), EMPTY)
    return float(np.sum((now - was) * np.log(now / was)))


def numeric(name, reference, current):
    reference, current = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    bounds = np.unique(np.quantile(reference, np.arange(1, 10) / 10))
    edges = np.concatenate([bounds, [np.inf]])
    counts = [np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges)).tolist() for values in (reference, current)]
    exact = stats.ks_2samp(reference, current, method="exact")
    n, m = len(reference), len(current)
    return {
        "name": name,
        "reference": reference.tolist(),
        "current": current.tolist(),
        "bounds": bounds.tolist(),
        "counts": counts,
        "psi": index(*counts),
        "ks": float(exact.statistic),
        "p": float(exact.pvalue),
        "limit": float(special.kolmogorov(exact.statistic * np.sqrt(n * m / (n + m)))),
    }


def categories(name, reference, current):
    test = stats.chi2_contingency([reference, current], correction=False)
    return {
        "name": name,
        "reference": reference,
        "current": current,
        "psi": index(reference, current),
        "chi_squared": float(test.statistic),
        "degrees": int(test.dof),
        "p": float(test.pvalue),
        "expected": float(test.expected_freq.min()),
    }


print(
    json.dumps(
        {
            "numeric": [
                numeric("the same distribution", rng.normal(size=80), rng.normal(size=50)),
                numeric("shifted", rng.normal(size=60), rng.normal(1, size=90)),
                numeric("whole numbers with ties", rng.poisson(4, size=100), rng.poisson(5, size=70)),
                numeric("mostly zero", np.where(rng.random(90) < 0.9, 0, 0.2), np.where(rng.random(40) < 0.7, 0, 0.3)),
                numeric("apart", np.arange(12), np.arange(20, 31)),
                numeric("one value", np.ones(5), np.ones(7)),
            ],
            "categories": [
                categories("three labels", [50, 30, 20], [30, 35, 35]),
                categories("a new label", [90, 10, 0], [60, 20, 20]),
                categories("two labels", [400, 100], [410, 95]),
                categories("many labels", rng.integers(5, 60, size=40).tolist(), rng.integers(5, 60, size=40).tolist()),
            ],
            "chi_squared": [[x, d, float(stats.chi2.sf(x, d))] for d in (1, 2, 3, 4, 7, 50, 999) for x in (0.0, 0.01, 1.0, d, 3.0 * d, 300.0)],
            "coin": [
                [k, n, float(stats.binomtest(k, n, 0.5, alternative="greater").pvalue)]
                for k, n in ((0, 1), (5, 10), (9, 10), (60, 100), (520, 1000), (640, 1000))
            ],
            "kolmogorov": [[x, float(special.kolmogorov(x))] for x in (0.05, 0.2, 0.4, 0.7, 0.9, 0.999, 1.0, 1.3, 2.0, 4.0)],
        },
        indent=1,
    )
)
