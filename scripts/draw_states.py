"""Draws the state machine of jobs into docs/reference/states.md, from its table in the code.

Run it after a change of the table; a test fails until it is done.
"""

from pathlib import Path

from rhapsode.domain.jobs import TERMINAL, TRANSITIONS, JobState

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "states.md"

NOTICE = "<!-- Drawn by scripts/draw_states.py from the code. Do not edit. -->\n"
INTRO = """\
# States of a job

A job is in one of these states. Every change is a compare-and-set in the database on the
state and the attempt number, so of two that happen at once one counts and the other is
refused: a runner that lost its lease is told so (409) and drops its work, and a cancellation
wins over whatever the runner reports later.
"""


def diagram() -> str:
    """The state machine in Mermaid's words."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobState.QUEUED}"]
    for change, row in TRANSITIONS.items():
        lines += [f"    {source} --> {row.target}: {change}" for source in sorted(row.sources)]
    lines += [f"    {state} --> [*]" for state in sorted(TERMINAL)]
    return "\n".join(lines)


def table() -> str:
    """The same as rows, with what each change means."""
    rows = ["| Change | From | To | When |", "| --- | --- | --- | --- |"]
    for change, row in TRANSITIONS.items():
        sources = ", ".join(f"`{source}`" for source in sorted(row.sources))
        rows.append(f"| {change} | {sources} | `{row.target}` | {row.meaning} |")
    return "\n".join(rows)


def page() -> str:
    """The whole page."""
    return f"{NOTICE}\n{INTRO}\n```mermaid\n{diagram()}\n```\n\n{table()}\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
