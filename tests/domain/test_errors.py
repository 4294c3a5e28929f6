"""Errors keep what they say, also between processes."""

import pickle

from rhapsode.domain.errors import Invalid


def test_an_error_reads_as_its_message_and_hint() -> None:
    assert str(Invalid("code", "It is wrong.", hint="Make it right.")) == (
        "It is wrong. Make it right."
    )


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(Invalid("code", "It is wrong.", hint="Mend it.")))

    assert (type(error), error.code, error.message, error.hint) == (
        Invalid,
        "code",
        "It is wrong.",
        "Mend it.",
    )
