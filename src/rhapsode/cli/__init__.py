"""The command `rhapsode`."""


def main() -> None:
    """Run the command line; what takes long to import waits until a command needs it."""
    from rhapsode.cli.app import app

    app()
