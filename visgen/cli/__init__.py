"""The command line: `visgen COMMAND`. Nothing heavy is imported before a command runs."""

from .app import app, main

__all__ = ["app", "main"]
