"""What a trivial score would get: the yardsticks beside every confidence figure.

A confidence is worth its cost only above these. Each is [n] over predictions, higher = surer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.conditions import Prediction

Floats = NDArray[np.float64]

BASELINES = {
    "similarity_only": "1 - distance of the nearest chunk",
    "max_probability": "the reader's own probability of its answer",
    "answer_length_only": "minus the words of the answer",
    "question_only": "logistic regression on the question's words, word pairs and length, "
    "cross-validated by article; chance by construction where every question is on both sides",
}


def trivial_scores(
    rows: Sequence[Prediction], target: ArrayLike, seed: int = 0
) -> dict[str, Floats]:
    """Every baseline of ``BASELINES``; those whose signal no answer carries are left out.

    A row without the signal (retrieval brought nothing) is the least sure.
    """
    found = signals(rows)
    scores = {
        "similarity_only": 1 - found["dense_top1"] if "dense_top1" in found else None,
        "max_probability": found.get("span_probability"),
        "answer_length_only": np.array([-float(len(r.answer.candidate.split())) for r in rows]),
        "question_only": question_only(rows, target, seed),
    }
    return {
        name: np.nan_to_num(score, nan=float(np.nanmin(score)) - 1)
        for name, score in scores.items()
        if score is not None
    }


def signals(rows: Sequence[Prediction]) -> dict[str, Floats]:
    """Each signal that any row carries, [n], as the answers gave it; NaN where one does not."""
    names = sorted({name for row in rows for name in row.answer.signals})
    return {name: np.array([r.answer.signals.get(name, np.nan) for r in rows]) for name in names}


def question_only(rows: Sequence[Prediction], target: ArrayLike, seed: int = 0) -> Floats:
    """Out-of-fold probability of ``target`` from the question's words and length alone.

    If this separates, the question set gives itself away by its style, and so may any confidence.
    Articles never stand in the training and the scored fold at once. A constant where there
    are fewer than two articles or a training fold has one class.
    """
    labels = np.asarray(target).astype(int)
    articles, groups = np.unique([row.group for row in rows], return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(articles))[groups] % 5
    scores = np.full(len(rows), labels.mean())
    texts = np.array([row.question.question for row in rows])
    for fold in np.unique(folds):
        held_out = folds == fold
        if len(np.unique(labels[~held_out])) == 2:
            scores[held_out] = _fit_words(texts[~held_out], labels[~held_out], texts[held_out])
    return scores


def _fit_words(train: NDArray[np.str_], labels: ArrayLike, test: NDArray[np.str_]) -> Floats:
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", max_features=20_000
    ).fit(train)

    def features(texts: NDArray[np.str_]) -> object:
        lengths = [[len(text.split()) / 10] for text in texts]
        return hstack([words.transform(texts), csr_matrix(lengths)]).tocsr()

    model = LogisticRegression(max_iter=200).fit(features(train), labels)
    return np.asarray(model.predict_proba(features(test))[:, 1], dtype=np.float64)
