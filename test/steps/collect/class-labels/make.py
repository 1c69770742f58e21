# Writes the files beside this script, with pip install datasets==5.2.0: python make.py
import os
from pathlib import Path
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

out = Path(__file__).parent
names = ["negative", "so, so", "positive"]
features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
rows = {"text": ["bad", "so so", "good", "unknown"], "label": [0, 1, 2, -1]}
labels = Dataset.from_dict(rows, features=features)
labels.to_parquet(out / "labels.parquet")

features = Features(
    {
        "tokens": Sequence(Value("string")),
        "ner_tags": Sequence(ClassLabel(names=["O", "B-PER", "I-PER"])),
        "meta": {"kind": ClassLabel(names=["a", "b"]), "n": Value("int64")},
        "spans": [{"type": ClassLabel(names=["x", "y"]), "start": Value("int32")}],
    }
)
tags = Dataset.from_dict(
    {
        "tokens": [["Ada", "Lovelace", "wrote"], ["Yes"]],
        "ner_tags": [[1, 2, 0], [0]],
        "meta": [{"kind": 1, "n": 5}, {"kind": 0, "n": 6}],
        "spans": [[{"type": 1, "start": 0}], []],
    },
    features=features,
)
tags.to_parquet(out / "tags.parquet")

labels.to_csv(out / "labels.csv", index=False)
labels.save_to_disk(out / "disk")
os.replace(out / "disk" / "dataset_info.json", out / "dataset_info.json")

def card(infos, path):
    data = DatasetCardData()
    DatasetInfosDict(infos).to_dataset_card_data(data)
    DatasetCard(f"---\n{data}\n---\n\n# A data set\n").save(path)

card({"default": labels.info}, out / "README.md")
card({"sentiment": labels.info, "ner": tags.info}, out / "README-two.md")
