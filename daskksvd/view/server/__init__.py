"""The dashboard: screens that the address names, their layout and callbacks, served on this machine."""

import importlib.util

for package in ("panel", "holoviews"):  # imported when they are needed: they take long
    if importlib.util.find_spec(package) is None:
        raise ImportError(f'the dashboard needs {package}; install it: pip install "daskksvd[view]"')
