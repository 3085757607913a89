"""Names of a package that are imported on first use, so that importing the package is quick."""

import importlib


def lazy(package, where):
    """What a package needs to offer names of its modules without importing them.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    where : dict of str to str
        The module of each name, from the package on. A name with the module
        of that name is the module itself.

    Returns
    -------
    ``__all__``, ``__getattr__`` and ``__dir__`` of the package.
    """
    names = sorted(where)

    def __getattr__(name):
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{where[name]}")
        return module if where[name] == name else getattr(module, name)

    def __dir__():
        return sorted({*vars(importlib.import_module(package)), *names})

    return names, __getattr__, __dir__
