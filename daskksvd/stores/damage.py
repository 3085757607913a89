"""The one error for a store that is not what was written."""


class DamagedStore(ValueError):
    """A file of a store is missing, cut off or changed; the message names it."""


def damaged(file, what):
    """The error for a file; ``what`` completes "FILE is ..."."""
    return DamagedStore(
        f"{file!r} is {what}: the store is damaged; bring that file back from a copy, or write the store "
        'again ("daskksvd check" lists all that is damaged)'
    )


def rewritten(path):
    """The error for a store that was replaced while something lazy still referred to it."""
    return DamagedStore(f"path={path!r} was written anew since it was opened; open it again")
