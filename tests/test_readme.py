"""The README's code blocks do what the README says."""

import itertools
import pathlib
import re
import shlex
import subprocess
import sys

README = pathlib.Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_python_and_shell_blocks(tmp_path):
    """All Python blocks, one after the other, then the commands on what they left."""
    blocks = BLOCK.findall(README.read_text())
    program = "\n".join(text for kind, text in blocks if kind == "python")
    # as -c, so that worker processes do not run it again
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:daskksvd", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    shown = [
        text
        for (before, _), (kind, text) in itertools.pairwise(blocks)
        if kind == "text" and before == "python"
    ]
    assert len(shown) == 7
    assert run.stdout == "".join(shown)

    commands = [line for kind, text in blocks if kind == "bash" for line in text.splitlines()]
    commands = [shlex.split(line, comments=True) for line in commands if line.startswith("daskksvd ")]
    # what fetches a model or data, or goes on until it is stopped, is not run here
    commands = [words for words in commands if words[1] not in ("embed", "view")]
    assert len(commands) == 9
    for _, *arguments in commands:
        run = subprocess.run(
            [sys.executable, "-m", "daskksvd", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr


def test_what_the_readme_names_is_there():
    text = README.read_text()
    for name in re.findall(r"`((?:daskksvd|benchmarks|ci)/[\w./]*)`|bash (ci/\w+\.sh)", text):
        assert (README.parent / (name[0] or name[1])).exists()
