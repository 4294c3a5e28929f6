"""What all of Whisper's implementations have in common."""

from collections.abc import Collection

from rhapsode.engines.base import Wish

NUMERAL = "[0-9]"
"""A regular expression for tokens that numbers are written with."""


def wishes(languages: Collection[str]) -> frozenset[Wish]:
    """What a Whisper model of these languages heeds: those of English only do not translate."""
    return frozenset(Wish) if len(languages) > 1 else frozenset(Wish) - {Wish.TRANSLATE}
