"""Writes a small XMP packet: the rights that a copy keeps. Where a file has it is its container's matter.

Rule 1: a file has one packet: what else is to be said of the same file is a further description in it.
Rule 2: texts of the source are escaped here; they were cleaned of what no XML may have when they were read.
Source: XMP specification (ISO 16684-1), part 1, 7; IPTC Photo Metadata 2023.2.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, Final

from fastproc.worker.xmp.names import ADDRESSES

#: Field of `descriptive` -> the property, and the array that it is ("" for none).
_PROPERTIES: Final = {
    "creator": ("dc:creator", "Seq"),
    "copyright": ("dc:rights", "Alt"),
    "credit": ("photoshop:Credit", ""),
    "usageTerms": ("xmpRights:UsageTerms", "Alt"),
    "webStatement": ("xmpRights:WebStatement", ""),
}
_BEGIN: Final = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END: Final = '<?xpacket end="r"?>'


def rights(fields: dict[str, Any]) -> str:
    """Return the description of creator, copyright, credit, terms and their page; "" where there is none of them."""
    found = {name: fields[name] for name in _PROPERTIES if fields.get(name)}
    if not found:
        return ""
    elements = [_element(*_PROPERTIES[name], value) for name, value in found.items()]
    used = {_PROPERTIES[name][0].partition(":")[0] for name in found}
    declared = "".join(f' xmlns:{prefix}="{ADDRESSES[prefix]}"' for prefix in sorted(used))
    return f'<rdf:Description rdf:about=""{declared}>{"".join(elements)}</rdf:Description>'


def packet(descriptions: Iterable[str]) -> bytes:
    """Return the packet of these descriptions (rdf:Description elements)."""
    body = "".join(descriptions)
    rdf = f'<rdf:RDF xmlns:rdf="{ADDRESSES["rdf"]}">{body}</rdf:RDF>'
    return f'{_BEGIN}<x:xmpmeta xmlns:x="adobe:ns:meta/">{rdf}</x:xmpmeta>{_END}'.encode()


def _element(name: str, array: str, value: str | list[str]) -> str:
    items = [html.escape(text, quote=False) for text in ([value] if isinstance(value, str) else value)]
    if not array:
        return f"<{name}>{items[0]}</{name}>"
    language = ' xml:lang="x-default"' if array == "Alt" else ""
    listed = "".join(f"<rdf:li{language}>{item}</rdf:li>" for item in items)
    return f"<{name}><rdf:{array}>{listed}</rdf:{array}></{name}>"
