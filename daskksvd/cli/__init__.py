"""The command ``daskksvd`` and its subcommands.

What takes long to import is imported inside the commands, so that ``--help``
answers at once.
"""

import contextlib
import re
import warnings

import click

from .. import __version__
from .check import check_command
from .completion import completion_command
from .demo import demo_command
from .embed import embed_command
from .encode import encode_command
from .export import export_command
from .fit import fit_command
from .info import info_command
from .label import atom_command, label_command, words_command
from .report import report_command
from .tokens import embed_captions_command, tokens_command
from .versions import versions_command
from .view import view_command

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
"""Exit codes: the work broke off; it cannot be done as asked for; Ctrl-C."""

PATH_ERRORS = (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError)
REFUSALS = (TypeError, ValueError, MemoryError, *PATH_ERRORS)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


class Commands(click.Group):
    """Lists commands in the order in which one needs them; tells errors in one line."""

    def list_commands(self, context):
        return list(self.commands)

    def invoke(self, context):
        try:
            with warnings_told(self.in_options):
                return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as stop:
            click.echo("\n".join(["\nInterrupted.", *getattr(stop, "__notes__", ())]), err=True)
            context.exit(INTERRUPTED)
        except (*REFUSALS, OSError, RuntimeError, ImportError) as error:
            if context.params["traceback"]:
                raise
            text = " ".join(". ".join([str(error), *getattr(error, "__notes__", ())]).split())
            told = click.ClickException(self.in_options(text) or type(error).__name__)
            told.exit_code = REFUSED if isinstance(error, REFUSALS) else FAILED
            raise told from error

    def in_options(self, text):
        """A message about Python arguments, as one about options."""
        flags = [flag for command in self.commands.values() for it in command.params for flag in it.opts]
        names = {flag[2:].replace("-", "_") for flag in flags if flag.startswith("--")}
        # a name with an underscore is no English word; others mean the argument where a value follows
        bare = [name for name in names if "_" in name] + ["rtol", "whiten"]
        return re.sub(
            rf"\b(?:({'|'.join(names)})(?:=True\b|(?==))|({'|'.join(bare)})\b)",
            lambda match: "--" + (match[1] or match[2]).replace("_", "-"),
            re.sub(r"^array\b|(?<=features of )array\b", "STORE", text.replace("n_threads", "threads")),
        )


@contextlib.contextmanager
def warnings_told(translated):
    """Warnings as one line each that says what is amiss, without the line of code; each once."""
    told = set()

    def show(message, category, filename, lineno, file=None, line=None):
        if file is not None:  # for somebody else's file
            return before(message, category, filename, lineno, file, line)
        text = " ".join(translated(str(message)).split())
        if text not in told:
            told.add(text)
            click.echo(f"Warning: {text}", err=True)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="daskksvd")
@click.option("--traceback", is_flag=True, help="Show where in the code an error comes from.")
def main(traceback):
    """Dictionary learning with K-SVD, for data that does not fit in memory.

    Given samples, one a row, find a set of directions ("atoms") such that every
    sample is nearly a weighted sum of a few of them. The samples, vectors of
    images say, lie in a Zarr store (or a .npy file) and are read piece by piece.

    \b
    New here? See it work on drawn scenes, in a minute or two:
      daskksvd demo

    \b
    With vectors of your own, captions in the order of their rows, and the images:
      daskksvd fit    vectors.npy --n-components 1024 --n-nonzero-coefs 8 --whiten 0.25 --out result.zarr
      daskksvd encode result.zarr vectors.npy
      daskksvd label  result.zarr captions.csv
      daskksvd view   result.zarr --captions captions.csv --images photos/

    \b
    With images alone, make vectors of them first, and go on with these:
      daskksvd embed  photos/ --captions captions.csv --model MODEL --out photos-embedded
      daskksvd fit    photos-embedded --n-components 1024 --n-nonzero-coefs 8 --whiten 0.25 --out result.zarr
      daskksvd encode result.zarr photos-embedded
      daskksvd label  result.zarr photos-embedded
      daskksvd view   result.zarr --embeddings photos-embedded

    \b
    Exit codes:
      0  done
      1  something failed on the way
      2  the request cannot be met as it stands (the message says why)
      130  stopped with Ctrl-C
    """


COMMANDS = (
    demo_command, embed_command, fit_command, encode_command, label_command, words_command, atom_command,
    embed_captions_command, tokens_command, view_command, report_command, export_command, info_command,
    check_command, versions_command, completion_command,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
