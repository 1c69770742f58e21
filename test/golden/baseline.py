"""Writes baseline.json: small text sets with scikit-learn's tf-idf rows, weights and predictions (python baseline.py)."""
import json, pathlib
import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(3)
WORDS = "free money now meeting Monday lunch café naïve win prize 2024 x_1 the a of to Straße report report's e-mail ＡＢ 日本 ok".split()


def case(classes, n):
    bias = rng.dirichlet(np.ones(len(WORDS)) * 0.6, classes)
    labels = rng.integers(0, classes, n)
    texts = [" ".join(rng.choice(WORDS, rng.integers(0, 12), p=bias[k])) + ("!" if k else ".") for k in labels]
    train, test = slice(0, n * 3 // 4), slice(n * 3 // 4, n)
    vectorizer = TfidfVectorizer()
    x = vectorizer.fit_transform(texts[train])
    model = LogisticRegression(tol=1e-10, max_iter=10000).fit(x, labels[train])
    t = vectorizer.transform(texts[test])
    return {
        "classes": classes,
        "train": [{"text": a, "label": int(b)} for a, b in zip(texts[train], labels[train])],
        "test": texts[test],
        "vocabulary": vectorizer.get_feature_names_out().tolist(),
        "tfidf": t.toarray().tolist(),
        "coef": model.coef_.tolist(),
        "intercept": model.intercept_.tolist(),
        "predicted": model.predict(t).tolist(),
    }


out = pathlib.Path(__file__).with_name("baseline.json")
out.write_text(json.dumps({"scikit-learn": sklearn.__version__, "cases": [case(2, 80), case(3, 120)]}) + "\n")
