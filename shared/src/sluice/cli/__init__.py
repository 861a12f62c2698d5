"""The command `sluice`."""


def main() -> None:
    """Run the command; what goes wrong on purpose is shown as one sentence, with exit status 1."""
    from sluice.cli.app import run  # noqa: PLC0415  # `import sluice.cli` stays free of typer and rich

    run()
