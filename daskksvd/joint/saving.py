"""Joint results on disk: a result of images and texts side by side, and what texts need besides."""

import json

import xarray as xr

from ..fitting import saving
from ..stores import DamagedStore, Store, Variable

JOINT = Store(
    kind="joint result",
    format="daskksvd.joint",
    version=1,
    variables={
        **saving.RESULT.variables,
        "text_vectors": Variable(
            ("atom", "text_feature"),
            ("float64",),
            "what codes of images alone are multiplied with to give texts",
        ),
        "text_offset": Variable(("text_feature",), ("float64",), "what is added to that"),
        "text_map": Variable(
            ("image_feature", "text_feature"),
            ("float64",),
            "what centred images are multiplied with to predict their texts",
            optional=True,
        ),
        "image_fvu": Variable(
            ("text_weight",),
            ("float64",),
            "variance of images unexplained, by weight of texts",
            optional=True,
        ),
        "word": Variable(
            ("atom", "side", "slot"),
            ("string",),
            "words of an atom, where its text half was held to some",
            True,
        ),
        "weight": Variable(
            ("atom", "side", "slot"),
            ("float64",),
            "what a coefficient of 1 adds to each",
            optional=True,
        ),
        "uses": Variable(("atom", "side"), ("int64",), "images that use the side", optional=True),
        "image_cost": Variable(
            ("text_weight",), ("float64",), "how much more that is than without texts, a share", optional=True
        ),
    },
    refusal="not a joint result of daskksvd",
)
"""Features are those of images and then those of texts. Beside these it has the history of the fit."""

_OWN = [name for name in JOINT.variables if name not in saving.RESULT.variables]


def to_dataset(result):
    """Everything of a joint result as one `xarray.Dataset`."""
    dataset = saving.to_dataset(result.both)
    for name, dims in (("text_vectors", ("atom", "text_feature")), ("text_offset", ("text_feature",))):
        dataset[name] = (dims, getattr(result, name), {"long_name": JOINT.variables[name].meaning})
    if result.text_map is not None:
        about = JOINT.variables["text_map"]
        dataset["text_map"] = (about.dims, result.text_map, {"long_name": about.meaning})
    if result.costs is not None:
        dataset = dataset.merge(result.costs)
    if result.words is not None:
        dataset = dataset.merge(result.words.drop_attrs(deep=False))
        dataset.attrs["words"] = json.dumps(result.words.attrs)
    dataset.attrs |= {
        **JOINT.marks,
        "n_image_features": result.n_image_features,
        "weight_of_texts": result.text_weight,
        "texts_as": result.texts_as,
        "figures": json.dumps(result.figures),
    }
    return dataset


def save(result, path, overwrite):
    """What `JointResult.save` does."""
    dataset = to_dataset(result)
    JOINT.save(dataset, path, overwrite, {"dictionary": dataset["dictionary"].shape})


def _words(own, attrs):
    """Words of atoms as `JointResult` has them, or None."""
    names = ("word", "weight", "uses")
    return (
        xr.Dataset({name: own[name] for name in names}, attrs=json.loads(attrs["words"]))
        if "word" in own
        else None
    )


def read(path):
    """What `JointResult` takes, as `save` stored it: parts of the result, features of images, the rest."""
    opened = JOINT.open(path)
    opened.verify()
    dataset = opened.dataset()
    try:
        own = {name: dataset[name] for name in _OWN if name in dataset}
        rest = {
            "text_vectors": own["text_vectors"].values,
            "text_offset": own["text_offset"].values,
            "text_map": own["text_map"].values if "text_map" in own else None,
            "costs": xr.Dataset({name: own[name] for name in ("image_fvu", "image_cost")})
            if "image_fvu" in own
            else None,
            "words": _words(own, dataset.attrs),
            "text_weight": float(dataset.attrs["weight_of_texts"]),
            "texts_as": dataset.attrs["texts_as"],
            "figures": json.loads(dataset.attrs["figures"]),
        }
        drop = [*own, *(name for name in ("text_weight", "side", "slot") if name in dataset.coords)]
        parts = saving.parts_of(dataset.drop_vars(drop), opened.path)
        return parts, int(dataset.attrs["n_image_features"]), rest
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DamagedStore(
            f"path={opened.path!r} is a damaged joint result ({type(error).__name__}: {error}); save it again"
        ) from error
