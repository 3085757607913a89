"""Whether a store was begun with the same model, source and settings."""

import re

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def difference(before, now):
    """The first setting that is not as it was."""
    for key in now:
        old, new = before.get(key), now[key]
        if isinstance(new, dict) and isinstance(old, dict):
            for inner in {**old, **new}:
                if old.get(inner) != new.get(inner):
                    return f"{key} {inner} {old.get(inner)!r}, not {new.get(inner)!r}"
        elif old != new:
            return f"{key}={old!r}, not {new!r}"
    return "other settings"


def with_known(identity, other):
    """An identity with the revisions that only the other one knows.

    Which commit of the Hub is read cannot always be asked for, as where the network is away.
    """
    if not isinstance(identity, dict) or not isinstance(other, dict):
        return identity
    found = dict(identity)
    for key in ("model", "source"):
        mine, its = identity.get(key), other.get(key)
        if not isinstance(mine, dict) or not isinstance(its, dict) or not _of_hub(mine):
            continue
        known, asked = its.get("revision"), mine.get("revision")
        if isinstance(known, str) and _COMMIT.fullmatch(known) and not _COMMIT.fullmatch(asked or ""):
            found[key] = {**mine, "revision": known}
    return found


def _of_hub(identity):
    """Whether the revision that an identity has is one of the Hub."""
    return identity.get("kind") == "dataset" or identity.get("library") == "transformers"
