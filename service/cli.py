"""The door of the `l0` terminal: it loads the commands and runs the one that is asked for."""

from service.ending import only_loading


def main() -> None:
    """Run the command line."""
    with only_loading():
        from service.commands import app  # noqa: PLC0415 - Ctrl-C must be settled before anything large is loaded
    app(prog_name="l0")


if __name__ == "__main__":
    main()
