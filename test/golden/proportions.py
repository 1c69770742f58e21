"""Writes proportions.json: intervals of shares and of differences, from statsmodels and SciPy (python proportions.py)."""
import json, pathlib
import numpy as np
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

rng = np.random.default_rng(4)
cases = []
for hits, rows, others, rest, level in [(3, 10, 20, 90, 0.95), (0, 25, 1, 400, 0.95), (25, 25, 300, 400, 0.99), (7, 40, 70, 400, 0.9999)]:
    low, high = proportion_confint(hits, rows, alpha=1 - level, method="wilson")
    below, above = confint_proportions_2indep(hits, rows, others, rest, compare="diff", method="newcomb", alpha=1 - level)
    cases.append(
        {"one": {"hits": hits, "rows": rows}, "other": {"hits": others, "rows": rest}, "level": level}
        | {"wilson": {"low": low, "high": high}, "newcombe": {"low": below, "high": above}}
    )
means = []
for n, m, level in [(30, 200, 0.95), (500, 20, 0.999)]:
    one, other = rng.gamma(2, 1, n), rng.gamma(1, 1, m)
    low, high = CompareMeans(DescrStatsW(one), DescrStatsW(other)).zconfint_diff(alpha=1 - level, usevar="unequal")
    means.append({"one": one.tolist(), "other": other.tolist(), "level": level, "interval": {"low": low, "high": high}})
file = pathlib.Path(__file__).parent / "proportions.json"
file.write_text(json.dumps({"shares": cases, "means": means}) + "\n")
