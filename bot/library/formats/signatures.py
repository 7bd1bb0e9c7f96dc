"""What a file really is, told by its first bytes, whatever its name says."""

from __future__ import annotations

import re
from typing import NamedTuple


class Signature(NamedTuple):
    """How files of one format begin.

    Args:
        begins: the first bytes.
        words: the format in words, for a person.
        kind: the kind of document that may begin so; empty when none does.
    """

    begins: re.Pattern[bytes]
    words: str
    kind: str = ""


_SIGNATURES = (
    Signature(re.compile(rb"%PDF-"), "a PDF document", "pdf"),
    Signature(re.compile(rb"PK\x03\x04|PK\x05\x06"), "a ZIP archive or Office document", "docx"),
    Signature(re.compile(rb"\xd0\xcf\x11\xe0"), "an old or encrypted Office document"),
    Signature(re.compile(rb"\x89PNG\r\n"), "a PNG image"),
    Signature(re.compile(rb"\xff\xd8\xff"), "a JPEG image"),
    Signature(re.compile(rb"GIF8[79]a"), "a GIF image"),
    Signature(re.compile(rb"RIFF....(?:WEBP|WAVE|AVI )", re.DOTALL), "an image, sound or film"),
    Signature(re.compile(rb"....ftyp", re.DOTALL), "an image or film"),
    Signature(re.compile(rb"ID3|\xff\xfb"), "a sound"),
    Signature(re.compile(rb"\x1f\x8b\x08"), "a gzip archive"),
    Signature(re.compile(rb"BZh\d1AY&SY"), "a bzip2 archive"),
    Signature(re.compile(rb"\xfd7zXZ\x00"), "an xz archive"),
    Signature(re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive"),
    Signature(re.compile(rb"Rar!\x1a\x07"), "a RAR archive"),
    Signature(re.compile(rb"\x7fELF"), "a program"),
    Signature(re.compile(rb"SQLite format 3\x00"), "a database"),
    Signature(re.compile(rb"\{\\rtf"), "Rich Text (RTF)"),
)


def signature(beginning: bytes) -> Signature | None:
    """What the first bytes (at least 16) say the file is; nothing when they could be any text."""
    return next((one for one in _SIGNATURES if one.begins.match(beginning)), None)
