import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.domain.media import MediaProbe
from rhapsode.engines import audio
from rhapsode.engines.audio import Decoder
from tests.support import recordings, speech

TONE = recordings.tone_sound(3.0)


def _seconds(path: Path) -> float:
    return sum(len(block) for block in audio.decode(path)) / 16_000


def test_probe_says_what_is_inside(tmp_path: Path) -> None:
    path = recordings.tone(tmp_path / "a.wav", 2.0)
    assert audio.probe(path) == MediaProbe("wav", "pcm_s16le", 1, 16_000, 2.0, has_video=False)


def test_probe_of_a_file_object_equals_probe_of_its_path(tmp_path: Path) -> None:
    path = recordings.mp4(tmp_path / "a.m4a", TONE)
    with path.open("rb") as file:
        assert audio.probe(file) == audio.probe(path)


@pytest.mark.parametrize(
    ("name", "codec", "muxer", "container"),
    [
        ("a.mp3", "libmp3lame", "mp3", "mp3"),
        ("a.flac", "flac", "flac", "flac"),
        ("a.ogg", "flac", "ogg", "ogg"),
        ("a.aac", "aac", "adts", "aac"),
        ("a.m4a", "aac", "mp4", "mp4"),
        ("a.mkv", "aac", "matroska", "matroska"),
        ("a.avi", "pcm_s16le", "avi", "avi"),
        ("a.ts", "aac", "mpegts", "mpegts"),
    ],
)
def test_containers_are_named_and_decoded(
    tmp_path: Path, name: str, codec: str, muxer: str, container: str
) -> None:
    path = recordings.encoded(tmp_path / name, TONE, codec, muxer)
    found = audio.probe(path)
    assert found.container == container
    assert found.duration == pytest.approx(3.0, abs=0.15)
    assert _seconds(path) == pytest.approx(3.0, abs=0.15)


def test_webm_without_a_duration_is_walked(tmp_path: Path) -> None:
    path = recordings.webm_without_duration(tmp_path / "a.webm", TONE)
    found = audio.probe(path)
    assert (found.container, found.codec) == ("webm", "opus")
    assert found.duration == pytest.approx(3.0, abs=0.05)


def test_a_long_walk_is_cut_short_and_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recordings.webm_without_duration(
        tmp_path / "a.webm", recordings.noise_sound(300.0, level=0.1)
    )
    monkeypatch.setattr(audio, "WALK_SECONDS", 0.0)
    assert audio.probe(path).duration == pytest.approx(300.0, rel=0.2)


def test_video_with_sound_is_video(tmp_path: Path) -> None:
    found = audio.probe(recordings.video_with_sound(tmp_path / "a.mp4", TONE))
    assert (found.container, found.has_video) == ("mp4", True)


Bad = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (recordings.empty, "media_empty", "The file is empty."),
        (recordings.text, "media_unreadable", "it looks like text."),
        (
            lambda path: recordings.mp4_truncated(path, TONE),
            "media_truncated",
            "without its index (moov).",
        ),
        (recordings.video_without_sound, "media_without_audio", "The file has no sound."),
    ],
)
def test_bad_input_is_refused_in_words(tmp_path: Path, make: Bad, code: str, says: str) -> None:
    path = make(tmp_path / "talk.wav")
    for look in (audio.probe, _seconds):
        with pytest.raises(Invalid) as refusal:
            look(path)
        assert refusal.value.code == code
        assert refusal.value.message.endswith(says)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04\x14\x00", "a ZIP archive or office document"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x00" * 64, "nothing but zeros"),
        (b"\x01\xfe\x80" * 100, "data of no known kind"),
        ("Grüße aus Köln\n".encode() * 300, "text"),
    ],
)
def test_what_was_found_is_named(tmp_path: Path, head: bytes, kind: str) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(head)
    with pytest.raises(Invalid, match=f"it looks like {kind}"):
        audio.probe(path)


@pytest.mark.parametrize("make", [recordings.playlist, recordings.concat_list])
@pytest.mark.parametrize("name", ["list.m3u8", "list.wav"])
def test_playlists_lead_nowhere(
    tmp_path: Path, make: Callable[[Path, str], Path], name: str
) -> None:
    secret = recordings.tone(tmp_path / "secret.wav")
    with pytest.raises(Invalid, match="a playlist, which only names other files"):
        audio.probe(make(tmp_path / name, str(secret)))


def test_playlists_open_no_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        callers: list[object] = []
        waiting = threading.Thread(target=lambda: _accept(server, callers))
        waiting.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        with pytest.raises(Invalid):
            audio.probe(recordings.playlist(tmp_path / "a.m3u8", address))
        waiting.join()
    assert callers == []


def _accept(server: socket.socket, callers: list[object]) -> None:
    try:
        callers.append(server.accept())
    except TimeoutError:
        return


def test_a_name_that_looks_like_an_address_is_a_name(tmp_path: Path) -> None:
    path = recordings.tone(tmp_path / "concat:http|🎙 a.wav", 1.0)
    assert audio.probe(path).duration == 1.0


def test_a_tenth_of_a_second(tmp_path: Path) -> None:
    assert _seconds(recordings.tone(tmp_path / "a.wav", 0.1)) == pytest.approx(0.1)


def test_eight_channels_at_192_khz_mix_to_the_same_level(tmp_path: Path) -> None:
    path = recordings.eight_channels(tmp_path / "a.wav", TONE)
    mixed = np.concatenate(list(audio.decode(path)))
    assert len(mixed) == pytest.approx(3 * 16_000, abs=16)
    assert float(np.abs(mixed[1000:-1000]).max()) == pytest.approx(0.3, abs=0.02)


def test_two_equal_channels_keep_their_level(tmp_path: Path) -> None:
    path = recordings.write_wav(tmp_path / "a.wav", [TONE], channels=2)
    mixed = np.concatenate(list(audio.decode(path)))
    assert float(np.abs(mixed).max()) == pytest.approx(0.3, abs=0.01)


def test_blocks_are_even_and_lose_nothing(tmp_path: Path) -> None:
    sound = recordings.noise_sound(25.0)
    path = recordings.write_wav(tmp_path / "a.wav", [sound])
    blocks = list(audio.decode(path))
    assert [len(block) for block in blocks] == [160_000, 160_000, 80_000]
    assert np.allclose(np.concatenate(blocks), np.clip(sound, -1, 1), atol=1e-3)


def test_a_header_that_promises_more_is_told(tmp_path: Path) -> None:
    decoder = Decoder(recordings.wav_with_false_length(tmp_path / "a.wav", TONE, 3600))
    assert sum(len(block) for block in decoder.blocks()) == 48_000
    assert decoder.warnings() == (
        (
            "The recording ends after 3 s although its header promises 3600 s: "
            "it may have been cut off."
        ),
    )


def test_damage_in_the_middle_is_told_and_skipped(tmp_path: Path) -> None:
    path = recordings.encoded(tmp_path / "a.mp3", TONE, "libmp3lame", "mp3")
    content = path.read_bytes()
    path.write_bytes(content[:5000] + bytes(2000) + content[7000:])
    decoder = Decoder(path)
    assert sum(len(block) for block in decoder.blocks()) > 32_000
    assert decoder.warnings() == ("Parts of the recording are damaged and were left out.",)


def test_a_hole_in_the_files_clock_becomes_silence(tmp_path: Path) -> None:
    path = recordings.with_hole(tmp_path / "a.mkv", TONE, hole_seconds=5.0)
    decoder = audio.Decoder(path)
    sound = np.concatenate(list(decoder.blocks()))
    assert decoder.warnings() == (
        "For 5.0 s the recording holds no sound, or damaged sound; they count as silence.",
    )
    assert len(sound) / 16_000 == pytest.approx(11.0, abs=0.2)
    assert float(np.abs(sound[16_000 * 4 : 16_000 * 7]).max()) == 0.0


def test_real_speech_is_heard(tmp_path: Path) -> None:
    assert _seconds(speech.sample("jfk")) == 11.0
