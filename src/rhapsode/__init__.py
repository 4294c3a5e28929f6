"""Rhapsode: a self-hosted speech platform."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("rhapsode")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
