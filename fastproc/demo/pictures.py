"""Makes the dozen photo-like files that `fastproc demo` processes when no folder is given.

Rule 1: the same Pillow makes the same bytes: every scene has its own seed, so one can change without the others.
Rule 2: a visitor sees every case: sizes from 0.3 to 12 megapixels, three orientations that must be corrected, alpha,
        WebP, AVIF, files above and below the optimisation threshold, and one file that must fail.
There is no HEIC: Pillow writes it only with an encoder that fastproc does not depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from msgspec import Struct
from PIL import ExifTags, Image, features
from PIL.TiffImagePlugin import IFDRational

from fastproc.demo import balloon, highlands, lowlands
from fastproc.demo.paint import Size, grain

#: A scene: paints a picture of that size with the random numbers it is given.
Paint = Callable[[Size, Random], Image.Image]

#: EXIF orientation -> how a camera in that position stores the upright scene.
STORED = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


class Shot(Struct, frozen=True, kw_only=True):
    """One picture to make. `width` and `height` are as displayed; `keep` is the part of the file that is written.

    `grain` is the strength of the film grain, 0 for none; `exposure` is (seconds as a fraction, f-number, ISO);
    `place` is (latitude, longitude, altitude in m); `fails` is the code of the error that it is meant to show.
    """

    name: str
    paint: Paint
    width: int
    height: int
    seed: int = 1
    quality: int = 92
    orientation: int = 1
    grain: float = 0.26
    progressive: bool = False
    keep: float = 1.0
    taken: str = ""
    exposure: tuple[tuple[int, int], float, int] = ((1, 250), 8.0, 100)
    place: tuple[float, float, float] | None = None
    fails: str = ""


SHOTS = (
    Shot(name="01-dawn-ridges.jpg", paint=highlands.dawn, width=4000, height=3000, quality=95, grain=0.42,
         taken="2025:10:04 06:52:11", exposure=((1, 60), 8.0, 100), place=(46.5593, 8.5614, 2106.0)),
    Shot(name="02-mountain-lake.jpg", paint=highlands.lake, width=3264, height=2176, quality=96, grain=0.42,
         taken="2025:07:19 12:30:45", exposure=((1, 500), 9.0, 100), place=(46.6863, 7.8632, 564.0)),
    Shot(name="03-pines-in-fog.jpg", paint=highlands.pines, width=1536, height=2048, orientation=6,
         taken="2025:11:02 08:14:03", exposure=((1, 125), 4.0, 400), place=(48.0833, 8.2000, 948.0)),
    Shot(name="04-milky-way.jpg", paint=highlands.night, width=1600, height=2400, orientation=8, quality=94, grain=0.4,
         taken="2025:08:12 23:41:27", exposure=((20, 1), 1.8, 3200), place=(28.7606, -17.8850, 2396.0)),
    Shot(name="05-sea-sunset.jpg", paint=lowlands.sea, width=2592, height=1728, orientation=3,
         taken="2025:06:21 21:35:10", exposure=((1, 320), 11.0, 200), place=(36.4618, 25.3753, 12.0)),
    Shot(name="06-dunes.jpg", paint=lowlands.dunes, width=2560, height=1920, quality=96, grain=0.46,
         taken="2025:03:08 17:20:54", exposure=((1, 640), 11.0, 100), place=(-24.7333, 15.2917, 572.0)),
    Shot(name="07-winter-peaks.webp", paint=highlands.winter, width=1800, height=1200, quality=84,
         taken="2025:01:15 11:02:33", exposure=((1, 1000), 10.0, 100), place=(45.8326, 6.8652, 1035.0)),
    Shot(name="08-city-at-dusk.avif", paint=lowlands.city, width=1600, height=1067, quality=70, grain=0.1,
         taken="2025:09:27 19:48:00", exposure=((1, 8), 4.0, 800), place=(50.1109, 8.6821, 112.0)),
    Shot(name="09-balloon-alpha.png", paint=balloon.balloon, width=960, height=1200, grain=0.0),
    Shot(name="10-aurora.jpg", paint=highlands.aurora, width=2000, height=1333, progressive=True, grain=0.34,
         taken="2025:02:27 22:10:41", exposure=((6, 1), 2.0, 1600), place=(69.6492, 18.9553, 10.0)),
    Shot(name="11-cut-short.jpg", paint=highlands.lake, seed=7, width=1920, height=1280, keep=0.55,
         fails="FILE_CORRUPTED", taken="2025:07:19 18:02:09"),
    Shot(name="12-poppies-small.jpg", paint=lowlands.meadow, width=640, height=480, quality=88,
         taken="2025:05:30 15:12:36", exposure=((1, 800), 5.6, 100), place=(43.2551, 11.6856, 410.0)),
)  # fmt: skip


def writable() -> list[Shot]:
    """Return the shots in order, without formats that this Pillow cannot write."""
    return [
        shot for shot in SHOTS if not shot.name.endswith((".webp", ".avif")) or features.check(shot.name[-4:])
    ]


def make(folder: Path, on_made: Callable[[Path], None] | None = None) -> list[Path]:
    """Write the pictures into `folder` (created if it does not exist) and return their paths, in order.

    `on_made` is called with each path when its file is complete. Raises OSError when the folder cannot be written.
    Cost: about 4 s of one core for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for shot in writable():
        path = folder / shot.name
        write(shot, path)
        made.append(path)
        if on_made:
            on_made(path)
    return made


def write(shot: Shot, path: Path) -> None:
    """Paint one shot and write its file."""
    rng = Random(shot.seed)
    picture = shot.paint((shot.width, shot.height), rng)
    if shot.grain:
        picture = grain(picture, shot.grain, rng)
    if shot.orientation in STORED:
        picture = picture.transpose(STORED[shot.orientation])
    match path.suffix:
        case ".png":
            picture.save(path, dpi=(144, 144))
        case ".webp":
            picture.save(path, quality=shot.quality, method=2, exif=exif(shot))
        case ".avif":
            picture.save(path, quality=shot.quality, speed=9, exif=exif(shot))
        case _:
            picture.save(
                path, quality=shot.quality, progressive=shot.progressive, dpi=(300, 300), exif=exif(shot)
            )
    if shot.keep < 1:
        path.write_bytes(path.read_bytes()[: round(path.stat().st_size * shot.keep)])


def exif(shot: Shot) -> Image.Exif:
    """Return the fields that a camera would have written."""
    (over, under), f_number, iso = shot.exposure
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "Fastproc"
    tags[ExifTags.Base.Model] = "Demo One"
    tags[ExifTags.Base.Orientation] = shot.orientation
    tags[ExifTags.Base.Software] = "fastproc demo"
    tags[ExifTags.Base.DateTime] = shot.taken
    detail = tags.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.LensModel] = "Demo 24-70mm F2.8"
    detail[ExifTags.Base.DateTimeOriginal] = shot.taken
    detail[ExifTags.Base.ExposureTime] = IFDRational(over, under)
    detail[ExifTags.Base.FNumber] = IFDRational(round(f_number * 10), 10)
    detail[ExifTags.Base.ISOSpeedRatings] = iso
    detail[ExifTags.Base.FocalLength] = IFDRational(35, 1)
    if shot.place:
        latitude, longitude, altitude = shot.place
        where = tags.get_ifd(ExifTags.IFD.GPSInfo)
        where[ExifTags.GPS.GPSLatitudeRef] = "N" if latitude >= 0 else "S"
        where[ExifTags.GPS.GPSLatitude] = sexagesimal(latitude)
        where[ExifTags.GPS.GPSLongitudeRef] = "E" if longitude >= 0 else "W"
        where[ExifTags.GPS.GPSLongitude] = sexagesimal(longitude)
        where[ExifTags.GPS.GPSAltitude] = IFDRational(round(altitude * 10), 10)
    return tags


def sexagesimal(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Return degrees, minutes and seconds (to a hundredth) as EXIF stores them; the sign goes into the reference."""
    hundredths = round(abs(degrees) * 360_000)
    minutes, rest = divmod(hundredths, 6_000)
    return IFDRational(minutes // 60, 1), IFDRational(minutes % 60, 1), IFDRational(rest, 100)
