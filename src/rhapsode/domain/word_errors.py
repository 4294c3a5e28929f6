"""Word error rates: how far a text is from what was said."""

import re


def plain(text: str) -> str:
    """The words in lower case, without punctuation."""
    return " ".join(re.sub(r"[^\w']+", " ", text.lower()).split())


def word_errors(reference: str, hypothesis: str) -> int:
    """Words to change, drop or add; the texts are compared as they are."""
    said, heard = reference.split(), hypothesis.split()
    costs = list(range(len(heard) + 1))
    for row, word in enumerate(said, start=1):
        before, costs[0] = costs[0], row
        for column, other in enumerate(heard, start=1):
            changed = before + (word != other)
            before = costs[column]
            costs[column] = min(changed, before + 1, costs[column - 1] + 1)
    return costs[-1]


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors, a word of the reference; both are made plain before."""
    said, heard = plain(reference), plain(hypothesis)
    return word_errors(said, heard) / (len(said.split()) or 1)
