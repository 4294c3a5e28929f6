"""Servers that a test needs: skipped with a reason where absent, a failure where required."""

import os

import pytest


def absent(part: str, reason: str) -> None:
    """Skip; but fail where RHAPSODE_TEST_REQUIRE names the part, as CI does for all."""
    if part in os.environ.get("RHAPSODE_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{part} is required here, but {reason}")
    pytest.skip(f"{part}: {reason}")
