"""Thresholds against trying them all; overlaps against their closed form; the row's promises on intervals."""

import math
import pydoc_data.topics
import re

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.random_projection import GaussianRandomProjection

from dipole.core.errors import DataError
from dipole.diagnostics.isotropy import isotropy, partition_isotropy
from dipole.evaluate.kinds.threshold import Threshold, _histogram, _shares
from dipole.evaluate.task import RetrievalTask


def task(noise, n=80, extra=200, seed=0):
    chance = np.random.default_rng(seed)
    documents = chance.normal(size=(n + extra, 16))
    queries = documents[:n] + noise * chance.normal(size=(n, 16))
    table = {**{f"d{i}": v for i, v in enumerate(documents)}, **{f"q{i}": v for i, v in enumerate(queries)}}
    ids, asked = [f"d{i}" for i in range(n + extra)], [f"q{i}" for i in range(n)]
    return RetrievalTask("t", asked, asked, ids, ids, {q: {f"d{i}": 1} for i, q in enumerate(asked)}), lambda items: np.stack(
        [table[i] for i in items]
    )


def overlap(a, b, bins=50):
    shares = [_shares(_histogram(np.asarray(x)[None], bins)) for x in (a, b)]
    return float(np.minimum(*shares).sum())


def test_overlap_of_known_distributions():
    chance = np.random.default_rng(0)
    x = chance.uniform(-1, 1, 1000)
    assert overlap(x, x) == pytest.approx(1.0)
    assert overlap(np.full(9, -0.5), np.full(7, 0.5)) == 0.0
    a, b = chance.normal(-0.2, 0.15, 200_000), chance.normal(0.1, 0.15, 200_000)
    phi = 0.5 * (1 + math.erf(-0.3 / 0.15 / 2 / math.sqrt(2)))
    assert overlap(a, b) == pytest.approx(2 * phi, abs=0.02)  # two normals at distance d: 2 Phi(-d / 2)
    assert overlap(a, b) == pytest.approx(overlap(b, a), abs=1e-12)


def test_the_threshold_is_the_best_of_all():
    tasks, encode = task(1.2)
    found = Threshold()(tasks, encode, samples=200)
    unit = {
        side: torch.nn.functional.normalize(torch.tensor(encode(ids)), dim=1)
        for side, ids in (("q", tasks.query_ids), ("d", tasks.document_ids))
    }
    correct = (unit["q"] * unit["d"][:80]).sum(1).numpy()
    np.testing.assert_allclose(found.per_item["correct_cosine"], correct, atol=1e-6)
    # the drawn random cosines are not told one by one; their mean, and J on fresh draws, are close
    fresh = (unit["q"] @ unit["d"].T).numpy()
    fresh = fresh[~np.eye(80, 280, dtype=bool)]
    j = {t: (correct >= t).mean() - (fresh >= t).mean() for t in np.linspace(-1, 1, 401)}
    at = found.metrics["threshold"]
    assert (correct >= at).mean() - (fresh >= at).mean() == pytest.approx(max(j.values()), abs=0.03)
    assert found.metrics["youden"] == pytest.approx(max(j.values()), abs=0.04)
    low, high = found.intervals["threshold"]
    assert low <= at <= high
    assert found.metrics["quantile_threshold"] == pytest.approx(np.quantile(correct, 0.05), abs=0.05)
    top = (unit["q"] @ unit["d"].T).numpy().argmax(axis=1)
    best = (unit["q"] @ unit["d"].T).numpy().max(axis=1)
    assert found.metrics["accuracy@1"] == pytest.approx((top == np.arange(80)).mean())
    assert found.metrics["accepted_share"] == pytest.approx((best >= at).mean())
    assert found.metrics["accepted_precision"] == pytest.approx((top == np.arange(80))[best >= at].mean())


def test_an_all_correct_system_has_no_width_and_more_queries_narrow_it():
    found = Threshold()(*task(0.05), samples=100)
    assert found.metrics["accuracy@1"] == 1.0
    assert found.intervals["accuracy@1"] == (1.0, 1.0)
    assert found.metrics["overlap_correct_random"] < 0.02
    few, many = (Threshold()(*task(1.6, n=n), samples=200) for n in (50, 800))
    width = [high - low for low, high in (found.intervals["accuracy@1"] for found in (few, many))]
    assert width[0] / width[1] == pytest.approx(4, rel=0.4)  # like 1 / sqrt(n)


def test_random_documents_are_never_relevant_ones():
    tasks, encode = task(1.0, n=5, extra=1)
    found = Threshold(random=50)(tasks, encode, samples=10)
    unit = torch.nn.functional.normalize(torch.tensor(encode(["q0", *tasks.document_ids])), dim=1)
    others = (unit[0] @ unit[2:].T).numpy()
    assert others.min() - 1e-6 <= found.per_item["random_cosine"][0] <= others.max() + 1e-6
    everything = RetrievalTask("t", ["q0"], ["q0"], ["d0"], ["d0"], {"q0": {"d0": 1}})
    with pytest.raises(DataError, match="answered by every document"):
        Threshold()(everything, encode)


def sentences():
    """Those of Python's own help that have 8 to 30 words: others with another version of Python, hence the wide margins."""
    found = [re.findall(r"[a-z]{2,}", s.lower()) for text in pydoc_data.topics.topics.values() for s in re.split(r"(?<=[.:])\s+", text)]
    return list(dict.fromkeys(" ".join(words) for words in found if 8 <= len(words) <= 30))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_overlaps_tell_how_often_a_model_is_right_better_than_isotropy_does(seed):
    """arXiv:2406.12336: over 13 models of one corpus; questions are its sentences with two of three words left out."""
    chance, found = np.random.default_rng(seed), sentences()
    documents = [found[i] for i in chance.permutation(len(found))[:1000]]
    questions = [" ".join(w for w in d.split() if chance.random() < 0.35) or d for d in documents[:300]]
    ids = [str(i) for i in range(1000)]
    asked = RetrievalTask("t", ids[:300], questions, ids, documents, {i: {i: 1} for i in ids[:300]})
    words = TfidfVectorizer().fit(documents)
    counted = words.transform(documents)
    sizes = (4, 8, 16, 32, 64, 128)
    models = [lambda x: x.toarray(), *(TruncatedSVD(k, random_state=seed).fit(counted).transform for k in sizes)]
    models += [GaussianRandomProjection(k, random_state=seed).fit(counted).transform for k in sizes]
    figures = []
    for model in models:
        told = Threshold()(asked, lambda texts, model=model: torch.tensor(model(words.transform(texts))).float(), samples=10).metrics
        vectors = torch.nn.functional.normalize(torch.tensor(model(counted)), dim=1)
        figures.append((told["accuracy@1"], told["overlap_correct_random"], isotropy(vectors), partition_isotropy(vectors)))
    right, overlaps, *both = np.array(figures).T
    assert right.min() < 0.2 and right.max() > 0.75  # there is something to predict
    told = -spearmanr(right, overlaps)[0]
    assert told > 0.85 and told > max(abs(spearmanr(right, even)[0]) for even in both) + 0.3
