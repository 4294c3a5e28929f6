"""The conformance suite of engines: what every engine must do, as tests to inherit.

It needs pytest, which Rhapsode itself does not. In a test module of the engine's package:

    from rhapsode.testing import Case, EngineConformance

    class TestMyEngine(EngineConformance):
        @classmethod
        def make_case(cls):
            return Case(engine=ENGINE, model=Path("…"), speech=Path("talk.wav"),
                        text="what is said in it", language="en")
"""

import pytest

pytest.register_assert_rewrite("rhapsode.testing.conformance")

from rhapsode.testing.case import Case  # noqa: E402 (pytest must know before the import)
from rhapsode.testing.conformance import EngineConformance  # noqa: E402
from rhapsode.testing.wer import plain, word_error_rate  # noqa: E402

__all__ = ["Case", "EngineConformance", "plain", "word_error_rate"]
