"""What `sparse` compiles is kept on disk: compiled once a machine, not once a process.

`sparse` has Numba compile its functions in each process anew: the first slice of rows of codes took five
seconds of every notebook, command and worker, rows by their numbers seven more, a product with a matrix
two. Numba's cache keeps them beside their source, or in the user's folder, as it does our own kernels.

To import this module is to keep them from then on.
"""

import contextlib
import sys

import sparse
from numba.core.dispatcher import Dispatcher


def _keep():
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{sparse.__name__}."):
            for value in vars(module).values():
                # those that are made anew from other arguments, as of products, are none of a module's
                if isinstance(value, Dispatcher) and value.py_func.__module__ == name:
                    with contextlib.suppress(RuntimeError):  # no folder can be written to
                        value.enable_caching()


_keep()
