"""Where the outputs of a recording go, and that none goes over another."""

import pytest

from rhapsode.cli.s3_plan import Naming, plan
from rhapsode.domain.errors import Invalid


@pytest.mark.parametrize(
    ("names", "patterns", "outputs"),
    [
        ((), {}, {"txt": "a/b.mp3.txt", "vtt": "a/b.mp3.vtt", "json": "a/b.mp3.json"}),
        (("srt", "meta"), {}, {"srt": "a/b.mp3.srt", "meta": "a/b.mp3.meta.json"}),
        ((), {"vtt": "subtitles.vtt"}, {"vtt": "subtitles.vtt"}),
        (("txt",), {"vtt": "{stem}.vtt"}, {"txt": "a/b.mp3.txt", "vtt": "b.vtt"}),
        ((), {"vtt": "{folder}subs/{name}"}, {"vtt": "a/subs/b.mp3"}),
        ((), {"vtt": "out/{key}"}, {"vtt": "out/a/b.mp3"}),
        ((), {"vtt": "{other}{}"}, {"vtt": "{other}{}"}),
    ],
)
def test_the_keys_of_outputs(
    names: tuple[str, ...], patterns: dict[str, str], outputs: dict[str, str]
) -> None:
    naming = Naming(names=names, patterns=patterns)

    assert naming.outputs("a/b.mp3") == outputs


def test_a_key_without_folder_or_suffix() -> None:
    naming = Naming(patterns={"txt": "{folder}x/{stem}.txt"})

    assert naming.outputs("talk") == {"txt": "x/talk.txt"}


def test_keys_that_come_twice_are_one_item() -> None:
    items = plan(["a.mp3", "b.mp3", "a.mp3"], Naming(patterns={}), same_bucket=True)

    assert [item.key for item in items] == ["a.mp3", "b.mp3"]


@pytest.mark.parametrize(
    ("pattern", "same_bucket"),
    [("all.txt", True), ("all.txt", False), ("{stem}.txt", False), ("{key}", True)],
)
def test_nothing_is_written_over_anything(pattern: str, same_bucket: bool) -> None:
    naming = Naming(patterns={"txt": pattern})

    with pytest.raises(Invalid) as refusal:
        plan(["x/a.mp3", "x/a.wav"], naming, same_bucket=same_bucket)

    assert refusal.value.code == "outputs_collide"


def test_the_same_keys_in_another_bucket_are_free() -> None:
    naming = Naming(patterns={"txt": "{key}"})

    (item,) = plan(["a.mp3"], naming, same_bucket=False)

    assert item.outputs == {"txt": "a.mp3"}
