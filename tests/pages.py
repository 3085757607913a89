"""Blocks of code in pages of Markdown, and what they print."""

import itertools
import re
import shlex
import subprocess
import sys

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "\x1e"
"""Printed between pages."""

OFF = ("view",)
"""Commands that go on until they are stopped."""


def blocks(path):
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def run_python(pages, folder, timeout=600):
    """Run the Python blocks of pages, one after the other in one process.

    Returns
    -------
    printed, shown : list of str
        By page: what was printed, and what the page says is.
    """
    parts = ["\n".join(text for kind, text in blocks(page) if kind == "python") for page in pages]
    program = f"\nprint({MARK!r}, end='')\n".join(parts)
    # as -c, so that worker processes do not run it again
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:daskksvd", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert run.returncode == 0, run.stderr
    shown = [
        "".join(
            text
            for (before, _), (kind, text) in itertools.pairwise(blocks(page))
            if kind == "text" and before == "python"
        )
        for page in pages
    ]
    return run.stdout.split(MARK), shown


def commands(page, without=OFF):
    """Commands of ours in the shell blocks of a page, without those that go on or fetch something."""
    lines = [line for kind, text in blocks(page) if kind == "bash" for line in text.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("daskksvd ")]
    return [words[1:] for words in found if words[1] not in without]
