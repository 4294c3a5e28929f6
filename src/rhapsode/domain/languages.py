"""The languages of the model families that several engines share, as ISO 639 codes."""

_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha "
    "haw he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn "
    "mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te "
    "tg th tk tl tr tt uk ur uz vi yi yo zh"
)
WHISPER_LANGUAGES = tuple(_CODES.split())
"""The languages of every multilingual Whisper model."""

WITH_CANTONESE = tuple(sorted([*WHISPER_LANGUAGES, "yue"]))
"""Those of the third large Whisper model and of what was made from it."""

EUROPEAN = tuple(
    "bg cs da de el en es et fi fr hr hu it lt lv mt nl pl pt ro ru sk sl sv uk".split()  # noqa: SIM905
)
"""The 25 languages of NVIDIA's multilingual Parakeet and Canary."""

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue", "km", "bo"})
"""Languages that are written without spaces between words."""
