"""Where transcripts are saved: none over another, and none over a recording."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rhapsode.domain.errors import Invalid
from rhapsode.domain.formats import Format

Targets = dict[Format, Path]
"""The file of each format that one recording's transcript is saved in."""


def plan(
    files: Sequence[Path], folder: Path | None, formats: Sequence[Format]
) -> list[Targets]:
    """The files to save, in the order of the recordings; none without a folder."""
    if folder is None:
        return [{} for _ in files]
    return [{kind: folder / f"{stem}.{kind}" for kind in formats} for stem in _stems(files)]


def _stems(files: Sequence[Path]) -> list[str]:
    """`a.mp3` and `a.wav` keep their suffix; `x/a.mp3` and `y/a.mp3` are numbered."""
    stems = Counter(_key(file.stem) for file in files)
    names = Counter(_key(file.name) for file in files)
    wanted = [
        file.name if stems[_key(file.stem)] > 1 and names[_key(file.name)] == 1 else file.stem
        for file in files
    ]
    counts = Counter(map(_key, wanted))
    taken = {name for name, count in counts.items() if count == 1}
    return [name if counts[_key(name)] == 1 else _numbered(name, taken) for name in wanted]


def _numbered(name: str, taken: set[str]) -> str:
    chosen, number = name, 1
    while _key(chosen) in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(_key(chosen))
    return chosen


def _key(name: str) -> str:
    """Some file systems do not tell `A` from `a`."""
    return name.casefold()


def ensure_apart(targets: Iterable[Path], sources: Collection[Path]) -> None:
    """Invalid where saving would overwrite a recording that was named on the command line."""
    for target in targets:
        if target.exists() and any(_is_same(target, source) for source in sources):
            raise Invalid(
                "output_is_input",
                f"The transcript would overwrite {target}.",
                hint="Choose another folder with --output.",
            )


def _is_same(target: Path, source: Path) -> bool:
    return source.exists() and target.samefile(source)


def save(target: Path, text: str) -> None:
    """Write a transcript; its line ends are left as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="")
