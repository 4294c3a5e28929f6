"""Puts the parts together as the settings say, and runs them."""

from rhapsode.bootstrap.parts import (
    asgi,
    migrate,
    open_application,
    open_services,
    openapi,
    would_downgrade,
)
from rhapsode.bootstrap.serving import serve

__all__ = [
    "asgi",
    "migrate",
    "open_application",
    "open_services",
    "openapi",
    "serve",
    "would_downgrade",
]
