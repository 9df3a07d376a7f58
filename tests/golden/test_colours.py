"""Colours that a file gives by numbers, beside the formulas of ITU (`formulas`) and LittleCMS: never beside our own.

Broken on purpose (no conversion): 9 levels or more at the worst patch in every case. Tolerances are levels of 255.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from fastproc.core.gate.judge import judge
from fastproc.core.model import Limits, Options
from fastproc.core.plan import make_plan
from fastproc.worker.encoders import Encoders
from fastproc.worker.source import Source
from fastproc.worker.stage import Work
from fastproc.worker.stages import metadata
from tests import pictures
from tests.golden import formulas

OPTIONS = Options(limits=Limits(min_side_px=1))
PATCH_PX = 16
#: Greys, sRGB-like colours inside the smaller gamuts, and one colour at the edge.
SIGNALS = np.array(
    [[n, n, n] for n in (0, 16, 40, 90, 128, 180, 230, 255)]
    + [
        [128, 90, 90],
        [90, 128, 90],
        [90, 90, 128],
        [200, 150, 100],
        [60, 120, 180],
        [118, 123, 125],
        [220, 60, 60],
    ]
)


def patches(levels: np.ndarray = SIGNALS) -> np.ndarray:
    """A row of patches."""
    return np.repeat(np.repeat(levels[None], PATCH_PX, 0), PATCH_PX, 1)


def png(levels: np.ndarray, *chunks: bytes) -> bytes:
    whole = pictures.encoded(Image.fromarray(patches(levels).astype("u1").squeeze()), "PNG")
    return pictures.png_with(*chunks, data=whole)


def cicp(primaries: int, transfer: int, *, full: bool = True) -> bytes:
    return pictures.png_chunk(b"cICP", bytes((primaries, transfer, 0, full)))


def avif(primaries: int, transfer: int, levels: np.ndarray = SIGNALS, **options: object) -> bytes:
    """An AVIF as libavif writes it, with other numbers in its `nclx`."""
    picture = Image.fromarray(patches(levels).astype("u1").squeeze())
    whole = bytearray(pictures.encoded(picture, "AVIF", quality=100, subsampling="4:4:4", **options))
    at = whole.index(b"colrnclx") + 8
    whole[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(whole)


def found(data: bytes) -> tuple[np.ndarray, list[str]]:
    """The middle of each patch as the worker shows it, and the warnings."""
    source = Source(memoryview(data), judge(data, OPTIONS.limits), OPTIONS)
    base = source.base
    whole = np.frombuffer(base.write_to_memory(), "u1").reshape(base.height, base.width, base.bands)
    middles = whole[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX]
    return np.broadcast_to(middles, (len(middles), 3)).astype(float), source.warnings


def worst(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max())


SDR = [(p, t) for p in formulas.PRIMARIES for t in formulas.CURVES]


@pytest.mark.parametrize(("primaries", "transfer"), SDR)
def test_a_png_by_numbers_is_shown_as_the_formulas_say(primaries: int, transfer: int) -> None:
    shown, warnings = found(png(SIGNALS, cicp(primaries, transfer)))
    light = formulas.CURVES[transfer](SIGNALS / 255)
    assert worst(shown, formulas.shown(light, formulas.PRIMARIES[primaries])) <= 2
    assert warnings == []


@pytest.mark.parametrize(("primaries", "transfer"), [(12, 13), (9, 14), (9, 13), (1, 8), (6, 6)])
def test_an_avif_by_numbers_is_shown_as_the_formulas_say(primaries: int, transfer: int) -> None:
    shown, _ = found(avif(primaries, transfer))
    light = formulas.CURVES[transfer](SIGNALS / 255)
    # The coder moves levels by two, and a curve may stretch that in the dark.
    assert worst(shown[3:], formulas.shown(light, formulas.PRIMARIES[primaries])[3:]) <= 5


@pytest.mark.parametrize("name", ["srgb", "p3", "bt2020"])
def test_numbers_and_a_profile_of_the_same_space_give_the_same_picture(name: str) -> None:
    numbers = {"srgb": (1, 13), "p3": (12, 13), "bt2020": (9, 4)}[name]
    of_bt2020 = ((0.67348, 0.27904, -0.00194), (0.16566, 0.67535, 0.02998), (0.12505, 0.04561, 0.79687))
    profile = pictures.matrix_profile(of_bt2020, 2.2) if name == "bt2020" else pictures.profile(name)
    picture = Image.fromarray(patches().astype("u1"))
    by_lcms = ImageCms.profileToProfile(
        picture,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert by_lcms is not None
    wanted = np.asarray(by_lcms)[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX].astype(float)
    assert worst(found(png(SIGNALS, cicp(*numbers)))[0], wanted) <= 2


def _sixteen(levels: np.ndarray) -> bytes:
    """A PNG of 16 bits with levels of 0 to 1."""
    rows = (patches(levels) * 65535).round().astype(">u2")
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(body)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pictures.png_chunk(kind, data) for kind, data in chunks)


HDR_LIGHT = {16: formulas.pq_nits, 18: formulas.hlg_nits}


# BT.2100 has HLG with its own primaries only.
@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (12, 16), (1, 16), (9, 18)])
def test_hdr_is_tone_mapped_as_the_recommendations_say(primaries: int, transfer: int) -> None:
    levels = SIGNALS / 255 * (0.75 if transfer == 16 else 1)
    data = pictures.png_with(cicp(primaries, transfer), data=_sixteen(levels))
    shown, warnings = found(data)
    nits = HDR_LIGHT[transfer](levels)
    assert worst(shown, formulas.shown(formulas.to_sdr(nits), formulas.PRIMARIES[primaries])) <= 1.5
    assert warnings == []


def test_the_peak_that_a_file_names_counts() -> None:
    levels = np.array([[n, n, n] for n in (0.3, 0.5, 0.6, 0.7, 0.9)])
    nits = formulas.pq_nits(levels)
    light = pictures.png_chunk(b"cLLI", struct.pack(">II", 4_000 * 10_000, 0))
    display = pictures.png_chunk(b"mDCV", bytes(16) + struct.pack(">II", 400 * 10_000, 0))
    for chunks, peak in (((light, display), 4000.0), ((display,), 400.0)):
        shown, _ = found(pictures.png_with(cicp(9, 16), *chunks, data=_sixteen(levels)))
        assert worst(shown, formulas.shown(formulas.to_sdr(nits, peak))) <= 1.5


@pytest.mark.parametrize(("transfer", "named"), [(16, "pq"), (18, "hlg"), (13, None)])
def test_the_metadata_name_the_curve_of_an_hdr_picture(transfer: int, named: str | None) -> None:
    data = png(SIGNALS, cicp(9, transfer))
    source = Source(memoryview(data), judge(data, OPTIONS.limits), OPTIONS)
    work = Work(
        source=source,
        options=OPTIONS,
        plan=make_plan(OPTIONS, 1, 1, 1),
        content_type=None,
        encoders=Encoders(),
    )
    assert metadata.run(work).facts.get("hdr") == named


def test_an_hdr_avif_of_eight_bits_is_tone_mapped_too() -> None:
    shown, _ = found(avif(9, 16))
    wanted = formulas.shown(formulas.to_sdr(formulas.pq_nits(SIGNALS / 255)), formulas.PRIMARIES[9])
    # One level of PQ is up to four of the screen.
    assert np.abs(shown - wanted).mean() <= 3


@pytest.mark.parametrize("kind", ["avif", "png"])
def test_a_narrow_range_is_expanded(kind: str) -> None:
    greys = np.array([[n] for n in (0, 16, 60, 128, 200, 255)])
    if kind == "avif":
        shown, _ = found(avif(1, 13, greys, range="limited"))
    else:
        narrow = (16 + greys * 219 / 255).round()
        shown, _ = found(png(narrow, cicp(1, 13, full=False)))
    assert worst(shown, greys) <= 2


@pytest.mark.parametrize(
    ("kind", "primaries"),
    [
        ("AVIF", ()),
        ("PNG", ()),
        ("JPEG", ()),
        # A PNG may not have one.
        ("AVIF", pictures.ADOBE_RGB),
        ("JPEG", pictures.ADOBE_RGB),
    ],
)
def test_a_grey_picture_is_shown_through_its_profile(kind: str, primaries: tuple) -> None:
    gamma = 1.0
    greys = np.array([[n] for n in (0, 16, 60, 128, 200, 255)])
    profile = pictures.matrix_profile(primaries, gamma)
    data = pictures.encoded(
        Image.fromarray(patches(greys).astype("u1").squeeze()), kind, icc_profile=profile, quality=100
    )
    shown, warnings = found(data)
    wanted = formulas.shown(np.repeat((greys / 255) ** gamma, 3, axis=1))
    assert worst(shown[2:], wanted[2:]) <= 4
    assert warnings == []


@pytest.mark.parametrize("exponent", [1.0, 1 / 1.8])
def test_a_gamma_of_a_png_counts(exponent: float) -> None:
    gama = pictures.png_chunk(b"gAMA", struct.pack(">I", round(exponent * 100_000)))
    shown, _ = found(png(SIGNALS, gama))
    assert worst(shown, formulas.shown((SIGNALS / 255) ** (1 / exponent))) <= 2


def test_a_gamma_with_primaries_counts_exactly_and_alone_only_where_it_differs_from_a_screens() -> None:
    gama = pictures.png_chunk(b"gAMA", struct.pack(">I", 45455))
    adobe = pictures.png_chunk(
        b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    )
    alone, _ = found(png(SIGNALS, gama))
    assert worst(alone, SIGNALS) == 0
    both, _ = found(png(SIGNALS, gama, adobe))
    space = (formulas.D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
    assert worst(both, formulas.shown((SIGNALS / 255) ** 2.2, space)) <= 2


def test_the_rank_is_numbers_then_profile_then_srgb_then_gamma() -> None:
    gama = pictures.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    srgb = pictures.png_chunk(b"sRGB", b"\0")
    assert worst(found(png(SIGNALS, srgb, gama))[0], SIGNALS) == 0
    picture = Image.fromarray(patches().astype("u1"))
    p3 = pictures.encoded(picture, "PNG", icc_profile=pictures.profile("p3"))
    wanted = formulas.shown(formulas.CURVES[13](SIGNALS / 255), formulas.PRIMARIES[12])
    assert worst(found(pictures.png_with(gama, data=p3))[0], wanted) <= 2
    assert worst(found(pictures.png_with(cicp(1, 13), data=p3))[0], SIGNALS) == 0


def test_srgb_primaries_with_a_plain_gamma_are_no_srgb() -> None:
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    profile = pictures.matrix_profile((red, green, blue), 2.2)
    data = pictures.encoded(Image.fromarray(patches().astype("u1")), "PNG", icc_profile=profile)
    assert worst(found(data)[0], formulas.shown((SIGNALS / 255) ** (563 / 256))) <= 2


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (cicp(3, 13), "3/13"),
        (cicp(12, 200), "12/200"),
        (pictures.png_chunk(b"cHRM", struct.pack(">8I", *[30_000] * 8)), "cHRM without gAMA"),
        (
            pictures.png_chunk(b"gAMA", struct.pack(">I", 45455))
            + pictures.png_chunk(b"cHRM", struct.pack(">8I", *[30_000] * 8)),
            "impossible primaries",
        ),
        (
            pictures.png_chunk(b"gAMA", struct.pack(">I", 45455))
            + pictures.png_chunk(b"cHRM", struct.pack(">8I", *[0xFFFFFFFF] * 8)),
            "impossible primaries",
        ),
        (
            pictures.png_chunk(b"gAMA", struct.pack(">I", 45455)) + pictures.png_chunk(b"cHRM", bytes(32)),
            "impossible primaries",
        ),
        (pictures.png_chunk(b"gAMA", struct.pack(">I", 1)), "impossible gamma"),
        (pictures.png_chunk(b"gAMA", struct.pack(">I", 0xFFFFFFFF)), "impossible gamma"),
    ],
)
def test_numbers_that_cannot_be_honoured_are_told_and_change_nothing(chunk: bytes, said: str) -> None:
    shown, warnings = found(png(SIGNALS, chunk))
    assert worst(shown, SIGNALS) == 0
    assert len(warnings) == 1
    assert said in warnings[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    "profile", [b"no profile" * 20, pictures.matrix_profile((), 1.0), pictures.profile("cmyk")]
)
def test_a_profile_that_cannot_be_used_is_told_once(kind: str, profile: bytes) -> None:
    exact = {"WEBP": {"lossless": True}, "PNG": {}}.get(kind, {"quality": 100, "subsampling": "4:4:4"})
    data = pictures.encoded(Image.fromarray(patches().astype("u1")), kind, icc_profile=profile, **exact)
    shown, warnings = found(data)
    assert worst(shown, SIGNALS) <= 2
    assert len(warnings) == 1
    assert "the colour profile could not be used" in warnings[0]


def test_a_profile_that_its_decoder_leaves_out_is_told() -> None:
    data = pictures.jpeg()
    empty = b"\xff\xe2" + struct.pack(">H", 16) + b"ICC_PROFILE\0\1\1"
    _, warnings = found(data[:2] + empty + data[2:])
    assert warnings == ["the colour profile could not be used: its decoder refused it"]


def test_a_profile_of_another_intent_than_perceptual_is_used() -> None:
    profile = pictures.profile("cmyk")
    inks = Image.new("CMYK", (64, 64), (200, 150, 100, 0))
    whole, relative = (
        found(pictures.encoded(inks, "JPEG", quality=100, icc_profile=each))
        for each in (profile, profile.replace(b"A2B0", b"zzzz", 1))
    )
    assert relative[1] == []
    assert worst(whole[0], relative[0]) <= 25


def test_a_profile_that_names_pq_is_tone_mapped() -> None:
    profile = bytearray(pictures.matrix_profile(pictures.ADOBE_RGB, 2.2))
    # Its first tag becomes `cicp`: BT.2020, PQ, RGB, full range.
    at = struct.unpack_from(">I", profile, 136)[0]
    profile[132:136] = b"cicp"
    profile[at : at + 12] = b"cicp" + bytes(4) + bytes((9, 16, 0, 1))
    levels = np.array([[n, n, n] for n in (0.2, 0.4, 0.58)])
    whole = _sixteen(levels)
    chunk = pictures.png_chunk(b"iCCP", b"pq\0\0" + zlib.compress(bytes(profile)))
    shown, _ = found(pictures.png_with(chunk, data=whole))
    wanted = formulas.shown(formulas.to_sdr(formulas.pq_nits(levels)), formulas.PRIMARIES[9])
    assert worst(shown, wanted) <= 1.5
