"""How much an encoder knows about scenes: retrieval and linear probes."""

import re
from typing import NamedTuple

import numpy as np

from daskksvd.datasets.scenes.concepts import CONCEPTS, FORMS, GROUPS

_CONCEPT = {form: concept for concept, forms in FORMS.items() for form in forms}


class Features(NamedTuple):
    """What an encoder makes of scenes.

    Attributes
    ----------
    image, text : numpy.ndarray
        Unit embeddings (n, d), float32, of every image and of its first caption.
    cls, mean : numpy.ndarray
        Last hidden states (n, width), float32, of the images: that of the class token, and the
        mean of those of the patches.
    """

    image: np.ndarray
    text: np.ndarray
    cls: np.ndarray
    mean: np.ndarray


def encode(model, processor, scenes, *, batch=250):
    """Embed images and first captions.

    Parameters
    ----------
    model : transformers.CLIPModel
    processor : transformers.CLIPProcessor
    scenes : Scenes
    batch : int
        Images at a time.

    Returns
    -------
    Features
    """
    import torch

    parts = []
    for start in range(0, len(scenes), batch):
        some = list(scenes[start : start + batch])
        inputs = processor(
            images=[scene.image for scene in some],
            text=[scene.captions[0] for scene in some],
            return_tensors="pt",
            padding=True,
            truncation=True,
        )
        with torch.inference_mode():
            out = model(**inputs)
        hidden = out.vision_model_output.last_hidden_state
        parts.append((out.image_embeds, out.text_embeds, hidden[:, 0], hidden[:, 1:].mean(dim=1)))
    return Features(*(torch.cat(column).float().numpy() for column in zip(*parts, strict=True)))


def mentioned(caption):
    """Concepts that a caption speaks of.

    Parameters
    ----------
    caption : str

    Returns
    -------
    set of str
    """
    words = re.findall(r"\w+", caption.lower())
    return {_CONCEPT[word] for word in words if word in _CONCEPT}


def retrieval(features, scenes):
    """How well images and captions of the same scenes find each other.

    Two scenes may well have the same caption, so besides the share of images
    that find their own caption there is the share that find a true one: all
    concepts it speaks of are in the image. Likewise for captions and images.

    Parameters
    ----------
    features : Features
        Of the scenes.
    scenes : Scenes
        n of them.

    Returns
    -------
    dict
        ``image_to_text`` and ``text_to_image``, each with ``recall_at_1``, ``recall_at_5`` (chance
        is 1 / n, 5 / n), ``true_at_1`` and ``true_by_chance``.
    """
    n = len(scenes)
    truth = scenes.truth()
    said = np.zeros((n, len(CONCEPTS)), bool)
    for row in range(n):
        said[row] = np.isin(CONCEPTS, list(mentioned(scenes.captions(row)[0])))
    # image i, caption j: nothing that the caption says is absent
    fits = (~truth).astype(np.float32) @ said.T.astype(np.float32) == 0
    cosine = features.image @ features.text.T
    found = {}
    for way, scores, right in (("image_to_text", cosine, fits), ("text_to_image", cosine.T, fits.T)):
        # an own score that ties with others ranks behind them
        rank = (scores >= np.diag(scores)[:, None]).sum(axis=1)
        top = scores.argmax(axis=1)
        found[way] = {
            "recall_at_1": float((rank <= 1).mean()),
            "recall_at_5": float((rank <= 5).mean()),
            "true_at_1": float(right[np.arange(n), top].mean()),
            "true_by_chance": float(right.mean()),
        }
    return found


def probe(features, truth, *, train, alpha=10.0):
    """Area under the ROC curve of a linear read-out of every concept.

    Parameters
    ----------
    features : (n, d) array
    truth : (n, concepts) bool array
    train : int
        The read-out is fitted to this many first rows and scored on the others.
    alpha : float
        Ridge penalty on standardised features.

    Returns
    -------
    dict
        Concept -> area.
    """
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(features[:train], truth[:train])
    areas = roc_auc_score(truth[train:], fitted.predict(features[train:]), average=None)
    return dict(zip(CONCEPTS, map(float, areas), strict=True))


def by_group(areas):
    """Mean area of the concepts of every group.

    Parameters
    ----------
    areas : dict
        Concept -> area.

    Returns
    -------
    dict
        Group -> mean.
    """
    means = {}
    for group in dict.fromkeys(GROUPS.values()):
        means[group] = float(np.mean([area for concept, area in areas.items() if GROUPS[concept] == group]))
    return means
