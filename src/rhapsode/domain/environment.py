"""What of the environment other processes get to see."""

from collections.abc import Mapping

_OURS = "RHAPSODE_"


def without_ours(environ: Mapping[str, str], keep: str | None = None) -> dict[str, str]:
    """The variables less Rhapsode's own, which hold passwords and keys.

    Processes that parse what strangers send need none of them. Those whose name begins
    with `keep` stay.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OURS) or (keep is not None and name.startswith(keep))
    }
