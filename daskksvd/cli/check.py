"""``daskksvd check``: read a whole store, and list what is damaged."""

import click

DAMAGED = 1
"""Exit code where something is."""

EXAMPLES = """\b
Examples:
  daskksvd check result.zarr
  daskksvd check photos-embedded && daskksvd fit photos-embedded -m 1024 -k 8 --out result.zarr
"""


@click.command("check", short_help="Read a whole store, and list what is damaged.", epilog=EXAMPLES)
@click.argument("path")
@click.pass_context
def check_command(context, path):
    """Read everything at PATH, and list the files that are damaged or missing.

    PATH is a result, codes, labels, the folder of "daskksvd embed", a checkpoint,
    or samples. What daskksvd writes ends with a record of all files and their
    checksums; with these everything is compared. In stores of earlier versions and
    in other Zarr stores, chunks that are missing or cannot be decoded are found.

    The exit code is 1 if anything is damaged.
    """
    from tqdm import tqdm

    from .checking import check

    with tqdm(unit=" files", disable=None, leave=False, dynamic_ncols=True) as bar:

        def told(done, files):
            bar.total = files
            bar.update(done - bar.n)

        found = check(path, told)
    for file, what in found.damaged:
        click.echo(f"{file}: {what}")
    if found.damaged:
        few = f"{len(found.damaged):,} of {max(found.files, len(found.damaged)):,} files"
        click.echo(f"{path} is damaged: {few}. Bring them back from a copy, or write the store again.")
        context.exit(DAMAGED)
    how = "their checksums are right" if found.checksums else "they can be read; they carry no checksums"
    ended = "" if found.complete else " It was not written to its end; the same command goes on."
    click.echo(f"{path} is whole ({found.kind}): {found.files:,} files, {how}.{ended}")
