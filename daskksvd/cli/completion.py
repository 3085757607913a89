"""``daskksvd completion``: names of commands and options that the shell fills in."""

import click
from click.shell_completion import get_completion_class

EXAMPLES = """\b
Examples:
  daskksvd completion bash > ~/.local/share/bash-completion/completions/daskksvd
  daskksvd completion zsh > ~/.zfunc/_daskksvd
  daskksvd completion fish > ~/.config/fish/completions/daskksvd.fish
"""
SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Make the shell complete commands.", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context, shell):
    """Print a script by which SHELL completes commands and options with the Tab key.

    Put it where your shell looks for such scripts, as below, and start a new
    shell. For zsh, ~/.zfunc must be in fpath before compinit: put
    "fpath=(~/.zfunc $fpath); autoload -U compinit; compinit" into ~/.zshrc.
    """
    script = get_completion_class(shell)(context.find_root().command, {}, "daskksvd", "_DASKKSVD_COMPLETE")
    click.echo(script.source())
