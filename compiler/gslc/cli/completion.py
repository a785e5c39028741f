"""`gslc completion SHELL`."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  gslc completion bash > ~/.local/share/bash-completion/completions/gslc
    zsh:   gslc completion zsh > "${fpath[1]}/_gslc"
    fish:  gslc completion fish > ~/.config/fish/completions/gslc.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}", ctx)
    click.echo(kind(ctx.find_root().command, {}, "gslc", "_GSLC_COMPLETE").source())
