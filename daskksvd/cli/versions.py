"""``daskksvd versions``: what a report of a fault should tell."""

import json

import click

EXAMPLES = """\b
Examples:
  daskksvd versions
  daskksvd versions --json | jq .blas
"""


@click.command("versions", short_help="Say what this is and runs on.", epilog=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs to read.")
def versions_command(as_json):
    """Print versions of daskksvd, Python and all packages, and what this machine is.

    Processor and cores, memory, BLAS with the kernel that it chose, graphics
    cards that PyTorch finds, and which extras are installed. Put it into reports
    of faults, and beside figures that you measured.
    """
    from ..versions import show_versions, versions_text

    facts = show_versions(as_dict=True)
    click.echo(json.dumps(facts, indent=2) if as_json else versions_text(facts))
