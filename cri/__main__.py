"""crispd: the daemon's command line.

crispd --config FILE                run in the foreground
crispd config default|dump|check    the configuration: as shipped, as read, whether it is right
crispd check                        what this node lacks, and what that costs; exit 1 if pods cannot run
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import partial

import click
import setproctitle

from core.errdefs import CrispError
from core.log import configure
from cri.check import Level, examine
from cri.config.config import Config
from cri.config.reading import load
from cri.config.writing import default_toml, dump

DEFAULT_CONFIG = "/etc/crisp/config.toml"


@click.group(invoke_without_command=True)
@click.option("--config", "path", default=DEFAULT_CONFIG, show_default=True, help="configuration file (TOML)")
@click.pass_context
def main(context: click.Context, path: str) -> None:
    """Crisp, a container runtime for Kubernetes nodes."""
    context.obj = path
    if context.invoked_subcommand is None:
        with _clear_errors():
            _run(path)


@main.group()
def config() -> None:
    """Show or check the configuration."""


@config.command("default")
def config_default() -> None:
    """Print the configuration that Crisp has without a file, with what each key means."""
    click.echo(default_toml())


@config.command("dump")
@click.pass_obj
def config_dump(path: str) -> None:
    """Print the configuration as read, defaults filled in."""
    with _clear_errors():
        click.echo(dump(_load(path)))


@config.command("check")
@click.pass_obj
def config_check(path: str) -> None:
    """Exit 0 if the configuration can be used, else say why not."""
    with _clear_errors():
        _load(path)
        click.echo(f"{path}: ok")


@main.command("check")
@click.pass_obj
def check(path: str) -> None:
    """Say what this node lacks and what that costs; exit 1 if pods cannot run."""
    with _clear_errors():
        findings = examine(_load(path))
    for finding in findings:
        click.echo(f"{finding.level.value:7} {finding.subject}: {finding.text}")
    sys.exit(any(finding.level is Level.FATAL for finding in findings))


def _load(path: str) -> Config:
    """The configuration at `path`; a missing default file means the defaults."""
    if path == DEFAULT_CONFIG and not os.path.exists(path):
        return Config()
    return load(path)


def _run(path: str) -> None:
    from cri.process import run  # noqa: PLC0415 - only the daemon pays for grpc and pyroute2

    setproctitle.setproctitle("crispd")
    config = _load(path)
    configure(config.log.level, config.log.format)
    run(config, partial(_load, path))


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """An error that an operator can mend is one line on stderr and exit 1, not a traceback."""
    failed = False
    try:
        yield
    except* (CrispError, OSError) as group:
        for exc in _leaves(group):
            click.echo(f"crispd: {exc}", err=True)
        failed = True
    if failed:
        sys.exit(1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        yield from _leaves(exc) if isinstance(exc, BaseExceptionGroup) else (exc,)


if __name__ == "__main__":
    main()
