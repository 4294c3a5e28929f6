import pytest
import typer
from typer.testing import CliRunner

from rhapsode.cli.app import app
from rhapsode.cli.spec import speakers_of
from rhapsode.domain.jobs import Layout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", {"exact": 2}),
        ("2-5", {"min": 2, "max": 5}),
        ("2-", {"min": 2}),
        ("-5", {"max": 5}),
        (" 2 - 5 ", {"min": 2, "max": 5}),
        (None, None),
    ],
)
def test_speakers_are_a_number_or_a_range(
    text: str | None, expected: dict[str, int] | None
) -> None:
    assert speakers_of(text, Layout.DIARISATION) == expected


@pytest.mark.parametrize("text", ["two", "2..5", "5-2", "0", "101", "1-2-3"])
def test_other_speakers_are_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        speakers_of(text, Layout.DIARISATION)


def test_speakers_need_the_layout_that_tells_them_apart() -> None:
    with pytest.raises(typer.BadParameter, match="diarisation"):
        speakers_of("2", Layout.SIMPLE)


@pytest.mark.parametrize("pair", ["Anna", "=Anna", "Speaker 1="])
def test_names_are_given_as_pairs(pair: str) -> None:
    result = CliRunner().invoke(app, ["voices", "speakers", "some-job", pair])
    assert result.exit_code == 2
    assert "OLD=NEW" in result.stderr


def test_a_voice_comes_from_a_file_or_a_job() -> None:
    result = CliRunner().invoke(app, ["voices", "add", "Anna", "no-such-file.wav"])
    assert result.exit_code == 2
    assert "neither a file nor" in " ".join(result.stderr.split())
