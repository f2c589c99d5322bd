"""The `tlfeat` command. It parses, calls the library and prints; nothing is computed here."""

from tlfeat_cli.app import main

__all__ = ["main"]
