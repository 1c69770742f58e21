"""Writes reweigh.json: the weights of AIF360's Reweighing (python reweigh.py).

AIF360 compares one group with one other group. With more groups and labels the formula is the same.
"""
import json, logging, pathlib, warnings

logging.disable(logging.WARNING)
warnings.filterwarnings("ignore")
import numpy as np
import pandas as pd
from aif360.algorithms.preprocessing import Reweighing
from aif360.datasets import BinaryLabelDataset

rng = np.random.default_rng(12)
cases = []
for rows, share, bias in [(40, 0.5, 0.4), (200, 0.1, -0.3)]:
    group = (rng.random(rows) < share).astype(int)
    label = (rng.random(rows) < 0.5 + bias * (group - 0.5)).astype(int)
    data = BinaryLabelDataset(
        df=pd.DataFrame({"group": group, "label": label}), label_names=["label"], protected_attribute_names=["group"]
    )
    weighted = Reweighing([{"group": 0}], [{"group": 1}]).fit_transform(data)
    cases.append({"group": group.tolist(), "label": label.tolist(), "weights": weighted.instance_weights.tolist()})
file = pathlib.Path(__file__).parent / "reweigh.json"
file.write_text(json.dumps(cases) + "\n")
