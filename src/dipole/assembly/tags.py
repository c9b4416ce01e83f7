"""The tags of recipes: a closed vocabulary, one facet after another.

The facets follow the survey of Le-Khac, Healy and Smeaton (arXiv:2010.05113), which takes a contrastive method apart into where
similarity comes from, how the two encoders relate, what head follows, the family of the loss, and where dissimilarity comes from;
modality, field and purpose are added so that a reader finds what fits their data. A new tag is one line here.
"""

from __future__ import annotations

from collections.abc import Iterable

from dipole.core.errors import UnknownNameError

FACETS: dict[str, dict[str, str]] = {
    "similarity": {
        "pairs": "given pairs: a question and its answer, a caption and its image",
        "augmentation": "transformed copies of one item",
        "dropout-views": "one item encoded twice under dropout",
        "parts": "a part and its whole: crops, spans, regions, patches",
        "sequence": "neighbours in time or in a text",
        "modalities": "several modalities of one item",
        "multi-view": "more than two views of one item",
        "translation": "the same sentence in two languages",
        "labels": "items of one class",
        "graded": "a degree of similarity, not yes or no",
        "clusters": "items of one cluster or prototype",
        "graph": "neighbours in a graph",
        "generated": "written or drawn by a generative model",
        "mixup": "mixtures of items",
    },
    "supervision": {
        "unsupervised": "no labels and no given pairs",
        "supervised": "labels or given pairs of people",
        "weakly-supervised": "noisy pairs, or labels of something else",
        "distillation": "a teacher's scores or vectors",
        "few-shot": "a handful of labelled items",
        "training-free": "nothing is trained",
    },
    "encoders": {
        "end-to-end": "both sides are trained",
        "momentum": "one side is a slow copy of the other",
        "frozen": "one side does not learn",
        "two-towers": "each side has an encoder of its own",
        "adapter": "few parameters of a frozen model are trained",
        "cross-encoder": "both sides are read together",
    },
    "head": {
        "projection": "a head that is thrown away after training",
        "token-level": "vectors of tokens, patches or regions are compared",
        "quantised": "vectors are snapped to a codebook or to bits",
        "transport": "parts are matched by optimal transport",
        "whitening": "dimensions are decorrelated",
    },
    "loss": {
        "softmax": "a positive against all candidates (InfoNCE and its kin)",
        "sigmoid": "each pair is judged alone (noise-contrastive estimation)",
        "margin": "a positive beats a negative by a margin (energies, hinges, triplets)",
        "listwise": "candidates are put in a teacher's or a grade's order",
        "distance": "distances or kernels with no normaliser",
        "moments": "means and covariances of the vectors",
        "regression": "scores or vectors are fitted to a target",
        "multi-positive": "several positives a row",
        "soft-targets": "a distribution over candidates instead of one positive",
        "two-sided": "keys ask for queries too",
        "learned-temperature": "the temperature is learned",
        "adaptive-temperature": "the temperature follows the batch",
        "multi-objective": "several terms weighed against each other",
        "generative": "beside a loss of prediction or reconstruction",
    },
    "negatives": {
        "in-batch": "the other items of the batch",
        "queue": "items of earlier batches",
        "hard-negative": "chosen because they look positive",
        "mined": "found among all items by a model",
        "negative-weights": "negatives weigh by hardness, similarity or grade",
        "false-negatives": "negatives that are really positive are left out or weighed down",
        "synthetic-negatives": "edited, mixed or generated",
        "no-negatives": "nothing is repelled explicitly",
        "debiased": "corrected for how negatives or labels were sampled",
    },
    "modality": {
        "text": "sentences and documents",
        "image": "pictures",
        "image-text": "pictures and their captions",
        "video": "moving pictures",
        "audio": "speech, music, sounds",
        "time-series": "sensors, recordings",
        "graphs": "nodes, molecules, knowledge",
        "point-cloud": "three-dimensional shapes",
        "code": "programs",
        "interactions": "users and items",
        "multilingual": "several languages",
        "words": "vectors of words",
    },
    "field": {
        "medical": "medicine and biology",
        "legal": "law",
        "science": "papers, ideas, evidence",
        "faces": "people's faces and voices",
        "remote-sensing": "pictures of the earth",
        "news": "news and claims",
        "telecom": "telecommunications",
        "robotics": "robots and control",
    },
    "purpose": {
        "pretraining": "a general encoder from much data",
        "fine-tuning": "an encoder for one task",
        "retrieval": "finding",
        "reranking": "ordering what was found",
        "similarity-scores": "scores that agree with people's",
        "classification": "classes, with or without training on them",
        "zero-shot": "classes known by their names alone",
        "detection": "regions and moments",
        "segmentation": "pixels, boundaries",
        "generation": "steering or training a generator",
        "decoding": "contrast between two models' predictions",
        "preference": "aligning a generator with what people prefer",
        "word-alignment": "which word translates which",
        "recommendation": "what comes next",
        "compositionality": "order, attributes and relations count",
        "long-tail": "rare classes",
        "robustness": "shifts, noise and attacks",
        "continual": "tasks one after another",
        "unlearning": "taking out what was learned",
        "explanation": "why a score is what it is",
        "isotropy": "how vectors fill the space",
        "theory": "what can be proven",
        "guideline": "what to do when",
    },
}

TAGS: dict[str, str] = {tag: about for facet in FACETS.values() for tag, about in facet.items()}


def known(tags: Iterable[str], where: str = "") -> None:
    """Raise UnknownNameError for the first tag that is not in the vocabulary, with the nearest ones."""
    for tag in tags:
        if tag not in TAGS:
            raise UnknownNameError("tag", tag, TAGS, where)
