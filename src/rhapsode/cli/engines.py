"""`rhapsode engines`: what is installed on this machine, and what each engine lacks."""

from dataclasses import asdict

from rhapsode.cli.options import Json
from rhapsode.cli.output import emit_json, emit_table


def engines(*, json: Json = False) -> None:
    """List the engines on this machine: which of them work, and what the others need.

    None of their libraries is imported. An engine of another package is looked at in a
    process of its own, since its import may do anything.
    """
    from rhapsode.engines.registry import survey

    found = survey()
    if json:
        emit_json([asdict(finding) for finding in found])
        return
    emit_table(
        ("ENGINE", "WORKS", "VERSION OR REASON", "TO INSTALL"),
        [
            (
                finding.name,
                "yes" if finding.available else "no",
                finding.detail,
                finding.install or "",
            )
            for finding in found
        ],
    )
