"""Bad files, drawn by lot: empty, mislabelled, damaged, hostile, or only strangely named."""

from __future__ import annotations

import codecs
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from random import Random

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
SUFFIXES = (".txt", ".md", ".pdf", ".docx", ".html", ".csv", ".json", ".jsonl")
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

Draw = Callable[[Random], tuple[str, bytes]]


@dataclass(frozen=True)
class BadFile:
    """One file: what is bad about it, its name, and its bytes."""

    what: str
    name: str
    content: bytes


def bad_files(count: int, seed: int) -> Iterator[BadFile]:
    """So many files, no two alike; every kind comes before one comes again."""
    random = Random(seed)
    seen: set[tuple[str, str]] = set()
    kinds: list[Draw] = []
    while len(seen) < count:
        kinds = kinds or random.sample(KINDS, len(KINDS))
        draw = kinds.pop()
        name, content = draw(random)
        key = (name, sha256(content).hexdigest())
        if key not in seen:
            seen.add(key)
            yield BadFile(draw.__name__.replace("_", " "), name, content)


def prose(random: Random) -> str:
    """A sentence that no other file holds."""
    return f"The {random.choice(WORDS)} kiln number {random.randrange(10**9)} stands in row 4."


WORDS = ("blue", "old", "Größe", "naïve", "large", "quiet")


def name(random: Random, suffix: str) -> str:
    return f"file{random.randrange(10**6)}{suffix}"


# -- Hardly anything, or something else ---------------------------------------------------------


def empty(random: Random) -> tuple[str, bytes]:
    return name(random, random.choice(SUFFIXES)), b""


def only_spaces(random: Random) -> tuple[str, bytes]:
    blank = random.choice((" ", "\n", "\t", "\u200b", "\ufeff", "\u00a0"))
    return name(random, ".txt"), (blank * random.randrange(1, 5000)).encode()


def unknown_type(random: Random) -> tuple[str, bytes]:
    return name(random, random.choice((".exe", ".png", ".xyz", "", ".doc", ".zip"))), b"MZ words"


def mislabelled(random: Random) -> tuple[str, bytes]:
    contents = {
        ".pdf": random.choice((PNG, word(prose(random)), b"<html>no</html>")),
        ".txt": random.choice((pdf([prose(random)]), PNG, word(prose(random)))),
        ".docx": random.choice((archive({"a.txt": b"no"}), pdf([prose(random)]), b"words")),
        ".csv": random.choice((word(prose(random)), PNG)),
        ".json": random.choice((pdf([prose(random)]), b"<a/>", b"words")),
        ".html": random.choice((PNG, pdf([prose(random)]))),
    }
    suffix = random.choice(list(contents))
    return name(random, suffix), contents[suffix] + bytes([random.randrange(256)])


def noise(random: Random) -> tuple[str, bytes]:
    return name(random, random.choice(SUFFIXES)), random.randbytes(random.randrange(1, 20_000))


def encrypted_pdf(random: Random) -> tuple[str, bytes]:
    from pypdf import PdfReader, PdfWriter

    writer, out = PdfWriter(), io.BytesIO()
    writer.append(PdfReader(io.BytesIO(pdf([prose(random)]))))
    writer.encrypt(f"word{random.random()}", algorithm="RC4-128")
    writer.write(out)
    return name(random, ".pdf"), out.getvalue()


def encrypted_word(random: Random) -> tuple[str, bytes]:
    return name(random, ".docx"), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + random.randbytes(2000)


# -- Damaged --------------------------------------------------------------------------------------


def truncated(random: Random) -> tuple[str, bytes]:
    suffix = random.choice((".pdf", ".docx"))
    whole = pdf([prose(random)] * 3) if suffix == ".pdf" else word(prose(random))
    return name(random, suffix), whole[: random.randrange(8, len(whole) - 8)]


def flipped_bytes(random: Random) -> tuple[str, bytes]:
    suffix = random.choice((".pdf", ".docx", ".json", ".html"))
    sound = {
        ".pdf": pdf([prose(random)] * 3),
        ".docx": word(prose(random)),
        ".json": json.dumps({"kiln": prose(random), "list": [1, 2, {"a": 3}]}).encode(),
        ".html": f"<h1>Kilns</h1><p>{prose(random)}</p>".encode(),
    }
    content = bytearray(sound[suffix])
    for _ in range(random.randrange(1, 30)):
        content[random.randrange(len(content))] = random.randrange(256)
    return name(random, suffix), bytes(content)


def broken_json(random: Random) -> tuple[str, bytes]:
    text = random.choice(('{"a": ', "[1, 2,, 3]", '{"a": 1}\n{"b": \n', "9" * 9000, "NaN x", "'a'"))
    return name(
        random, random.choice((".json", ".jsonl"))
    ), text.encode() + b" " * random.randrange(9)


def broken_encoding(random: Random) -> tuple[str, bytes]:
    text = f"{prose(random)} £5 – ₤ {random.random()}"
    content = random.choice(
        (
            text.encode("utf-16-le"),
            text.encode("utf-16-be"),
            text.encode("utf-16")[:-1],
            text.encode("latin-1", "replace"),
            text.encode() + text.encode("cp1252", "replace"),
            text.encode()[:-1] + b"\xe2\x82",
            text.encode("utf-32"),
            codecs.BOM_UTF8 * 3 + text.encode(),
        )
    )
    return name(random, random.choice((".txt", ".md", ".csv", ".html"))), content


def control_characters(random: Random) -> tuple[str, bytes]:
    marks = "".join(chr(random.choice((*range(1, 32), 127, 0x85, 0x9B))) for _ in range(5))
    return name(random, ".txt"), (prose(random) * 20 + marks + "\x1b[31mred\x1b]0;title\a").encode()


def turned_text(random: Random) -> tuple[str, bytes]:
    turned = "\u202egnp.exe\u202c \u2066isolated\u2069 \u200f"
    return name(random, ".md"), f"# Turned {turned}\n\n{turned}{prose(random)}".encode()


def half_characters(random: Random) -> tuple[str, bytes]:
    escaped = random.choice((r"\ud800", r"\udfff", r"\u0000", r"\ud83d"))
    said = f'{{"title": "half {escaped}", "{escaped}": "{prose(random)} {escaped}"}}'
    return name(random, ".json"), said.encode()


# -- Bombs ----------------------------------------------------------------------------------------


def zip_bomb(random: Random) -> tuple[str, bytes]:
    megabytes = random.randrange(40, 300)
    body = f"<w:document xmlns:w='{WORD}'><w:body><w:p><w:r><w:t>".encode()
    return name(random, ".docx"), archive({"word/document.xml": body + b"a" * (megabytes << 20)})


def tag_bomb(random: Random) -> tuple[str, bytes]:
    body = b"<w:p/>" * random.randrange(4_000_000, 9_000_000)
    start = f"<w:document xmlns:w='{WORD}'><w:body>".encode()
    xml = start + body + b"</w:body></w:document>"
    return name(random, ".docx"), archive({"word/document.xml": xml})


def entity_bomb(random: Random) -> tuple[str, bytes]:
    entities = '<!ENTITY a0 "lol">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, random.randrange(6, 12))
    )
    xml = f"<!DOCTYPE a [{entities}]><a>&a5;</a>"
    encoding = random.choice(("utf-8", "utf-16"))
    return name(random, ".docx"), archive({"word/document.xml": xml.encode(encoding)})


def external_entity(random: Random) -> tuple[str, bytes]:
    target = random.choice(("file:///etc/passwd", "http://127.0.0.1:9/x", "/etc/hostname"))
    xml = (
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "{target}">]><w:document xmlns:w="{WORD}"><w:body><w:p>'
        f"<w:r><w:t>{prose(random)}&x;</w:t></w:r></w:p></w:body></w:document>"
    )
    return name(random, ".docx"), archive({"word/document.xml": xml.encode()})


def pdf_stream_bomb(random: Random) -> tuple[str, bytes]:
    packed = zlib.compress(b"BT (a) Tj ET\n" * random.randrange(4_000_000, 12_000_000), 9)
    filters = b"/FlateDecode"
    for _ in range(random.randrange(3)):
        packed, filters = zlib.compress(packed, 9), filters + b" /FlateDecode"
    return name(random, ".pdf"), pdf_of_streams([(packed, b"/Filter [" + filters + b"]")])


def pdf_in_circles(random: Random) -> tuple[str, bytes]:
    kids = random.choice((b"2 0 R", b"2 0 R 2 0 R", b"1 0 R 2 0 R"))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Parent 2 0 R /Kids [" + kids + b"] /Count 99999999 >>",
        b"<< /Length 4 0 R >>",
        b"4 0 R",
        str(random.random()).encode(),
    ]
    return name(random, ".pdf"), pdf_of_objects(objects)


def pdf_nested(random: Random) -> tuple[str, bytes]:
    deep = random.choice((b"[", b"<< /A ")) * random.randrange(20_000, 200_000)
    objects = [b"<< /Type /Catalog /Pages 2 0 R /X 3 0 R >>", deep, deep]
    return name(random, ".pdf"), pdf_of_objects(objects)


def many_pages(random: Random) -> tuple[str, bytes]:
    pages = [""] * random.randrange(9_000, 10_001)
    pages[-1] = prose(random)
    return name(random, ".pdf"), pdf(pages)


def wide_csv(random: Random) -> tuple[str, bytes]:
    columns = random.randrange(500_000, 1_000_001)
    names = ",".join(f"c{n}" for n in range(columns))
    return name(random, ".csv"), f"{names}\n{'1,' * columns}1\n".encode()


def multiplying_csv(random: Random) -> tuple[str, bytes]:
    names = ",".join(f"{'very ' * 400}long column {n}" for n in range(1000))
    return name(random, ".csv"), (
        names + ("\n" + "1," * 999 + "1") * random.randrange(200, 400)
    ).encode()


def odd_csv(random: Random) -> tuple[str, bytes]:
    text = random.choice(('a,b\n"never closed', "a;b\tc|d,e\n" * 50, '"' * 9999, "a" * 200_000))
    return name(random, ".csv"), f"{text}\n{random.random()}".encode()


def deep_json(random: Random) -> tuple[str, bytes]:
    depth = random.randrange(1_000, 100_001)
    opened, closed = random.choice((("[", "]"), ('{"a":', "}")))
    return name(random, ".json"), f"{opened * depth}1{closed * depth}".encode()


def deep_html(random: Random) -> tuple[str, bytes]:
    tag = random.choice(("div", "p", "ul><li", "table><tr><td", "b", "svg"))
    return name(random, ".html"), (f"<{tag}>" * random.randrange(1_000, 9_000)).encode() + b"end"


def deep_word(random: Random) -> tuple[str, bytes]:
    depth = random.randrange(1_000, 100_000)
    body = "<w:sdt>" * depth + "</w:sdt>" * depth
    xml = f"<w:document xmlns:w='{WORD}'><w:body>{body}</w:body></w:document>"
    return name(random, ".docx"), archive({"word/document.xml": xml.encode()})


def endless_composing(random: Random) -> tuple[str, bytes]:
    accents = "\u0301\u0316" * random.randrange(300_000, 500_000)
    return name(random, ".txt"), f"a{accents}".encode()


def one_long_word(random: Random) -> tuple[str, bytes]:
    return name(random, ".md"), random.choice("aé漢#>*|`").encode() * random.randrange(
        9_000, 20_000
    )


# -- Strange names --------------------------------------------------------------------------------


STEMS = (
    *("../../up", "..\\..\\up", "/etc/up", "C:\\docs\\up", "a/../b", "~/x", "%2e%2e", "-rf"),
    *("nul\0byte", "line\nbreak", "tab\there", "\x1b[31mred", "half\ud800", "trail. ."),
    *("a" * 300, "é" * 300, "漢" * 300, "😀" * 300, "e\u0301" * 100),
    *("CON", "NUL", "com1", "LPT9", "aux.old", "CONIN$", "con "),
    *("", ".", "..", " ", "...hidden", "~$open", ".upload-x"),
    *("😀 kiln", "שלום", "مرحبا", "a\u202etxt", "zero\u200bwidth"),
    *("<b>x</b>", "![x](y)", "'; DROP TABLE", "a:b|c?d*"),
)
STRANGE_SUFFIXES = (".md.", ".md ", ".MD", ".md\u202e", "." + "x" * 300, ".m\0d")


def strange_name(random: Random) -> tuple[str, bytes]:
    """Sound text, only its name is not."""
    if random.random() < 0.2:
        return f"odd{random.choice(STRANGE_SUFFIXES)}", prose(random).encode()
    return f"{random.choice(STEMS)}.md", prose(random).encode()


KINDS: list[Draw] = [
    *(empty, only_spaces, unknown_type, mislabelled, mislabelled, noise, encrypted_pdf),
    *(encrypted_word, truncated, truncated, flipped_bytes, flipped_bytes, broken_json),
    *(broken_encoding, broken_encoding, control_characters, turned_text, half_characters),
    *(zip_bomb, tag_bomb, entity_bomb, external_entity, pdf_stream_bomb, pdf_in_circles),
    *(pdf_nested, many_pages, wide_csv, multiplying_csv, odd_csv, deep_json, deep_html, deep_word),
    *(endless_composing, one_long_word, *[strange_name] * 8),
]


# -- Making files ---------------------------------------------------------------------------------


def archive(parts: dict[str, bytes]) -> bytes:
    """A zip archive of parts by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for part, content in parts.items():
            made.writestr(zipfile.ZipInfo(part), content, zipfile.ZIP_DEFLATED, compresslevel=1)
    return out.getvalue()


def word(text: str) -> bytes:
    """A Word document of one paragraph."""
    xml = (
        f"<w:document xmlns:w='{WORD}'><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>"
        "</w:document>"
    )
    return archive({"[Content_Types].xml": b"<Types/>", "word/document.xml": xml.encode()})


def pdf(pages: list[str]) -> bytes:
    """A PDF of pages with one line each."""
    return pdf_of_streams(
        [(b"BT /F1 11 Tf 50 780 Td (" + p.encode("latin-1") + b") Tj ET", b"") for p in pages]
    )


def pdf_of_streams(streams: list[tuple[bytes, bytes]]) -> bytes:
    """A PDF of one page for each content stream, given with the words of its dictionary."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [" + kids + b"] /Count %d >>" % len(streams),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, (stream, described) in enumerate(streams):
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number),
            b"<< /Length %d %b >> stream\n%b\nendstream" % (len(stream), described, stream),
        ]
    return pdf_of_objects(objects)


def pdf_of_objects(objects: list[bytes]) -> bytes:
    """A PDF of numbered objects, of which the first is the catalogue."""
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.7\n")
    for number, one in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, one))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer << /Size %d /Root 1 0 R >>\n" % (len(objects) + 1))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()
