"""Word error rates, without a library."""

from rhapsode.domain.word_errors import plain, word_error_rate

__all__ = ["plain", "word_error_rate"]
