"""Transcripts are saved beside each other, and beside the recordings."""

from pathlib import Path

import pytest

from rhapsode.cli.targets import ensure_apart, plan
from rhapsode.domain.errors import Invalid
from rhapsode.domain.formats import Format


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.mp3", "b.mp3"], ["a", "b"]),
        (["a.mp3", "a.wav"], ["a.mp3", "a.wav"]),
        (["x/rec.wav", "y/rec.wav", "z/rec.wav"], ["rec", "rec-2", "rec-3"]),
        (["x/rec.wav", "y/REC.wav"], ["rec", "REC-2"]),
        (["rec.wav", "x/rec.wav", "rec-2.wav"], ["rec", "rec-3", "rec-2"]),
        (["rec.wav", "x/rec.wav", "rec.mp3"], ["rec", "rec-2", "rec.mp3"]),
        (["a.mp3", "a.wav", "a.mp3.ogg"], ["a.mp3", "a.wav", "a.mp3-2"]),
    ],
)
def test_no_two_share_a_name(files: list[str], names: list[str]) -> None:
    planned = plan([Path(file) for file in files], Path("out"), [Format.TXT, Format.SRT])
    assert planned == [
        {Format.TXT: Path(f"out/{name}.txt"), Format.SRT: Path(f"out/{name}.srt")}
        for name in names
    ]


def test_without_a_folder_nothing_is_saved() -> None:
    assert plan([Path("a.mp3")], None, [Format.TXT]) == [{}]


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    source, link = tmp_path / "talk.txt", tmp_path / "link"
    source.write_bytes(b"sound")
    link.symlink_to(tmp_path)
    ensure_apart([tmp_path / "new.txt"], [source, tmp_path / "missing"])
    with pytest.raises(Invalid) as caught:
        ensure_apart([link / "talk.txt"], [source])
    assert caught.value.code == "output_is_input"
