"""The README's code does what the README says."""

import pathlib

from click.testing import CliRunner
from pages import commands, run_python

from daskksvd import cli

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_python_blocks(tmp_path):
    printed, shown = run_python([README], tmp_path)
    assert printed == shown


def test_commands_are_those_of_a_page():
    """Which runs them: see test_docs."""
    page = README.parent / "ci" / "docs" / "own-vectors.md"
    assert commands(README)[:3] == commands(page)[:3]


def test_commands_are_known():
    for arguments in commands(README, ()):
        assert CliRunner().invoke(cli.main, [arguments[0], "--help"]).exit_code == 0
