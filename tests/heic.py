"""Small HEIC files: coded pictures of 96 x 64 pixels; HEIF containers of any number of coded pictures.

Nothing here can code HEVC, so the pictures were made once: red rises from left to right, green from top to bottom, blue
is 128; the grey ones rise from left to right; alpha is 0 in the left half. `heif-enc -q 40 -b BITS` of libheif 1.15.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Final

from fastproc.core.gate.properties import children
from tests.pictures import box

WIDTH, HEIGHT = 96, 64

_CODED: Final = {
    "rgb 8": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUJtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFmAAEAAAAAAAAAaQAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA"
        "AGh2YzEAAAAAwmlwcnAAAACkaXBjbwAAAHhodmNDAQNwAAAAAAAAAAAAHvAA/P34+AAADwMgAAEAGEABDAH//wNwAAADAJAAAAMA"
        "AAMAHroCQCEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgQEDAgAAAMACAAAAwAIQCIAAQAHRAHBcrAiQAAAABRpc3Bl"
        "AAAAAAAAAGAAAABAAAAAEHBpeGkAAAAAAwgICAAAABZpcG1hAAAAAAAAAAEAAQOBAoMAAABxbWRhdAAAAGUoAa9Yd4IadDp9yja/"
        "RofjDurpcbS1eupLtN9FEM/X1Sq9zRM90lQs9JQO2cp9DQW0E3TJWDPhOguZiEVNwNkyA2bf0EflPDtOz3Uql5ohAe17LpeFFgEC"
        "YRQ1jrr4s1ypSQORgA=="
    ),
    "rgb 10": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUBtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFkAAEAAAAAAAAAZwAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA"
        "AGh2YzEAAAAAwGlwcnAAAACiaXBjbwAAAHZodmNDAQQIAAAAAAAAAAAAHvAA/P36+gAADwMgAAEAF0ABDAH//wQIAAADAJ24AAAD"
        "AAAeugJAIQABACpCAQEECAAAAwCduAAAAwAAHqAwgQTZbqSSmubgQEDAgAAAAwCAAAADAIQiAAEAB0QBwXKwIkAAAAAUaXNwZQAA"
        "AAAAAABgAAAAQAAAABBwaXhpAAAAAAMKCgoAAAAWaXBtYQAAAAAAAAABAAEDgQKDAAAAb21kYXQAAABjKAGvWPkadDp9yja/Rofj"
        "DurpcbS1eupLtN9FEM/X1Sq9zRM90lQs9JQO2cp9TJ22gm6ZKxBfcmVxf7jovI4R5OSIXKci5a4Wz561inKXKj34ETU0LJgJPgJ2"
        "OUfmSVKJN0eL"
    ),
    "rgba 8": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAkVtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAANGlsb2MAAAAAREAAAgABAAAAAAJpAAEAAAAAAAAAaQACAAAAAALSAAEAAAAAAAAAcgAAADhpaW5mAAAA"
        "AAACAAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAFWluZmUCAAAAAAIAAGh2YzEAAAABhGlwcnAAAAFfaXBjbwAAAHhodmNDAQNwAAAA"
        "AAAAAAAAHvAA/P34+AAADwMgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQCEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbq"
        "SSmubgQEDAgAAAMACAAAAwAIQCIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAAAGAAAABAAAAAEHBpeGkAAAAAAwgICAAAAHJodmND"
        "AQQIAAAAAAAAAAAAHvAA/Pz4+AAADwMgAAEAF0ABDAH//wQIAAADAJ/4AAADAAAeugJAIQABACZCAQEECAAAAwCf+AAAAwAAHsDC"
        "BBZbqSSmubAgAAADACAAAAMAISIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAAAGAAAABAAAAADnBpeGkAAAAAAQgAAAAnYXV4QwAA"
        "AAB1cm46bXBlZzpoZXZjOjIwMTU6YXV4aWQ6MQAAAAAdaXBtYQAAAAAAAAACAAEDgQKDAAIEhAWGhwAAABppcmVmAAAAAAAAAA5h"
        "dXhsAAIAAQABAAAA421kYXQAAABlKAGvWHeCGnQ6fco2v0aH4w7q6XG0tXrqS7TfRRDP19Uqvc0TPdJULPSUDtnKfQ0FtBN0yVgz"
        "4ToLmYhFTcDZMgNm39BH5Tw7Ts91KpeaIQHtey6XhRYBAmEUNY66+LNcqUkDkYAAAABuKAGusIrIGD3//66JyuH/9LcQ0Hg8knUl"
        "h8IUdZFqQIUITfABKleBMJZZp5c6C/EQjJxGZs+NfpPDdXzss1uL/0ajpg8a4PUPiwmvhYttPwFlrnhiuJgQNRr4EBWADckzKfrQ"
        "lC4drXFWAGZC45g="
    ),
    "grey 8": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAATptZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFeAAEAAAAAAAAAJwAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA"
        "AGh2YzEAAAAAumlwcnAAAACcaXBjbwAAAHJodmNDAQQIAAAAAAAAAAAAHvAA/Pz4+AAADwMgAAEAF0ABDAH//wQIAAADAJ/4AAAD"
        "AAAeugJAIQABACZCAQEECAAAAwCf+AAAAwAAHsDCBBZbqSSmubAgAAADACAAAAMAISIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAA"
        "AGAAAABAAAAADnBpeGkAAAAAAQgAAAAWaXBtYQAAAAAAAAABAAEDgQKDAAAAL21kYXQAAAAjKAGusO+cNOBVzftdfU2CpoiagRdN"
        "V6Bcon8vigJ7wxWJ84A="
    ),
    "grey 10": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAATttZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFfAAEAAAAAAAAAKQAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA"
        "AGh2YzEAAAAAu2lwcnAAAACdaXBjbwAAAHNodmNDAQQIAAAAAAAAAAAAHvAA/Pz6+gAADwMgAAEAF0ABDAH//wQIAAADAJ34AAAD"
        "AAAeugJAIQABACdCAQEECAAAAwCd+AAAAwAAHsDCBBNlupJKa5sCAAADAAIAAAMAAhAiAAEAB0QBwXKwIkAAAAAUaXNwZQAAAAAA"
        "AABgAAAAQAAAAA5waXhpAAAAAAEKAAAAFmlwbWEAAAAAAAAAAQABA4ECgwAAADFtZGF0AAAAJSgBrrDvmA6oaYI37XX1NgaAzK1A"
        "oumq/6GmQA7GW8FRGTg+H4A="
    ),
    "grey 12": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAATttZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFfAAEAAAAAAAAAKAAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA"
        "AGh2YzEAAAAAu2lwcnAAAACdaXBjbwAAAHNodmNDAQQIAAAAAAAAAAAAHvAA/Pz8/AAADwMgAAEAF0ABDAH//wQIAAADAJn4AAAD"
        "AAAeugJAIQABACdCAQEECAAAAwCZ+AAAAwAAHsDCBBFKW6kkprmwIAAAAwAgAAADACEiAAEAB0QBwXKwIkAAAAAUaXNwZQAAAAAA"
        "AABgAAAAQAAAAA5waXhpAAAAAAEMAAAAFmlwbWEAAAAAAAAAAQABA4ECgwAAADBtZGF0AAAAJCgBrrDvnDTgVc37XX1NgqaImoEX"
        "ZHi1+x9f73xIg95Ja3whiA=="
    ),
    "grey alpha 8": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAj1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAANGlsb2MAAAAAREAAAgABAAAAAAJhAAEAAAAAAAAAJwACAAAAAAKIAAEAAAAAAAAAcgAAADhpaW5mAAAA"
        "AAACAAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAFWluZmUCAAAAAAIAAGh2YzEAAAABfGlwcnAAAAFXaXBjbwAAAHJodmNDAQQIAAAA"
        "AAAAAAAAHvAA/Pz4+AAADwMgAAEAF0ABDAH//wQIAAADAJ/4AAADAAAeugJAIQABACZCAQEECAAAAwCf+AAAAwAAHsDCBBZbqSSm"
        "ubAgAAADACAAAAMAISIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAAAGAAAABAAAAADnBpeGkAAAAAAQgAAAByaHZjQwEECAAAAAAA"
        "AAAAAB7wAPz8+PgAAA8DIAABABdAAQwB//8ECAAAAwCf+AAAAwAAHroCQCEAAQAmQgEBBAgAAAMAn/gAAAMAAB7AwgQWW6kkprmw"
        "IAAAAwAgAAADACEiAAEAB0QBwXKwIkAAAAAUaXNwZQAAAAAAAABgAAAAQAAAAA5waXhpAAAAAAEIAAAAJ2F1eEMAAAAAdXJuOm1w"
        "ZWc6aGV2YzoyMDE1OmF1eGlkOjEAAAAAHWlwbWEAAAAAAAAAAgABA4ECgwACBIQFhocAAAAaaXJlZgAAAAAAAAAOYXV4bAACAAEA"
        "AQAAAKFtZGF0AAAAIygBrrDvnDTgVc37XX1NgqaImoEXTVegXKJ/L4oCe8MVifOAAAAAbigBrrCKyBg9//+uicrh//S3ENB4PJJ1"
        "JYfCFHWRakCFCE3wASpXgTCWWaeXOgvxEIycRmbPjX6Tw3V87LNbi/9Go6YPGuD1D4sJr4WLbT8BZa54YriYEDUa+BAVgA3JMyn6"
        "0JQuHa1xVgBmQuOY"
    ),
}

#: name -> file.
FILES: Final = {name: base64.b64decode(text) for name, text in _CODED.items()}


def _property(name: str, kind: bytes) -> bytes:
    """The box of that kind of the primary picture of a file."""
    return _property_of(FILES[name], kind)


def _property_of(whole: bytes, kind: bytes) -> bytes:
    meta = whole[whole.index(b"meta") + 8 :]
    iprp = dict(children(meta, 0))[b"iprp"]
    return box(kind, dict(children(dict(children(iprp, 0))[b"ipco"], 0))[kind])


def coded(name: str = "rgb 8") -> bytes:
    """The coded picture of a file that has one."""
    whole = FILES[name]
    return whole[whole.index(b"mdat") + 4 :]


def _full(kind: bytes, version: int, *body: bytes) -> bytes:
    return box(kind, bytes((version, 0, 0, 0)), *body)


def _extent(width: int, height: int) -> bytes:
    return _full(b"ispe", 0, struct.pack(">II", width, height))


def assembled(
    name: str = "rgb 8", *, data: Sequence[bytes] = (), columns: int = 1, properties: Sequence[bytes] = ()
) -> bytes:
    """A file of the coded pictures in `data`, side by side in so many columns, with more properties of the whole."""
    tiles = list(data) or [coded(name)]
    return container(tiles, b"hvc1", _property(name, b"hvcC"), columns=columns, properties=properties)


def avif_grid(tiles: Sequence[bytes], like: bytes, *, columns: int) -> bytes:
    """An AVIF of coded pictures with the properties of `like`, an AVIF of WIDTH x HEIGHT pixels."""
    return container(tiles, b"av01", _property_of(like, b"av1C"), columns=columns)


def avif_data(whole: bytes) -> bytes:
    """The coded picture of an AVIF as libavif writes it: all behind its last header."""
    return whole[whole.index(b"mdat") + 4 :]


def container(
    tiles: Sequence[bytes], item: bytes, coder: bytes, *, columns: int = 1, properties: Sequence[bytes] = ()
) -> bytes:
    """A HEIF file of coded pictures of WIDTH x HEIGHT pixels, side by side in so many columns."""
    brand = b"avif" if item == b"av01" else b"heic"
    rows = -(-len(tiles) // columns)
    whole = len(tiles) + 1 if len(tiles) > 1 else 1
    described = b"".join(
        _full(b"infe", 2, struct.pack(">HH", n + 1, 0), item + b"\0") for n in range(len(tiles))
    )
    known = [_extent(WIDTH, HEIGHT), coder, *properties]
    linked = [(n + 1, [1, 2]) for n in range(len(tiles))]
    references, inside = b"", b""
    if whole > 1:
        described += _full(b"infe", 2, struct.pack(">HH", whole, 0), b"grid\0")
        numbers = struct.pack(f">{len(tiles)}H", *range(1, whole))
        references = _full(b"iref", 0, box(b"dimg", struct.pack(">HH", whole, len(tiles)), numbers))
        inside = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, WIDTH * columns, HEIGHT * rows)
        known.append(_extent(WIDTH * columns, HEIGHT * rows))
        linked.append((whole, [len(known)]))
    linked[-1][1].extend(range(3, 3 + len(properties)))
    ipma = b"".join(struct.pack(">HB", item, len(places)) + bytes(places) for item, places in linked)

    def meta(start: int) -> bytes:
        at, places = start, b""
        for item, part in [(whole, inside), *enumerate(tiles, 1)][not inside :]:
            places += struct.pack(">HHHII", item, 0, 1, at, len(part))
            at += len(part)
        count = len(linked)
        return _full(
            b"meta",
            0,
            _full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            _full(b"pitm", 0, struct.pack(">H", whole)),
            _full(b"iloc", 0, b"\x44\0", struct.pack(">H", count), places),
            _full(b"iinf", 0, struct.pack(">H", count), described),
            references,
            box(b"iprp", box(b"ipco", *known), _full(b"ipma", 0, struct.pack(">I", count), ipma)),
        )

    head = box(b"ftyp", brand, bytes(4), b"mif1" + brand)
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", inside, *tiles)
