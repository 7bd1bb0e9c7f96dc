"""Files of every kind become titled sections; bad files become sentences."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import docx
import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from bot.errors import DocumentError
from bot.library.load import SUFFIXES, Document, load


def _load(folder: Path, name: str, content: str | bytes) -> Document:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(path)


def _sections(document: Document) -> list[tuple[str, str]]:
    return [(section.heading, section.text) for section in document.sections]


def pdf_bytes(*pages: list[str], title: str = "") -> bytes:
    """A PDF with one line of Helvetica per string."""
    writer = PdfWriter()
    for lines in pages:
        page = writer.add_blank_page(width=595, height=842)
        shown = b"".join(
            b"(" + line.replace("(", r"\(").replace(")", r"\)").encode("latin-1") + b") Tj T*\n"
            for line in lines
        )
        stream = DecodedStreamObject()
        stream.set_data(b"BT /F1 11 Tf 14 TL 50 780 Td\n" + shown + b"ET")
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


# -- Markdown ----------------------------------------------------------------------------------


def test_markdown_keeps_title_and_the_path_of_headings(tmp_path: Path) -> None:
    text = "# Kiln care\nIntro.\n\n## Daily\nBrush it.\n\n### Lid\nOil it.\n\n## Yearly\nTest it.\n"
    document = _load(tmp_path, "care.md", text)
    assert document.title == "Kiln care"
    assert document.kind == "md"
    assert _sections(document) == [
        ("", "Intro."),
        ("Daily", "Brush it."),
        ("Daily — Lid", "Oil it."),
        ("Yearly", "Test it."),
    ]


def test_markdown_without_one_heading_over_all_is_named_after_its_file(tmp_path: Path) -> None:
    document = _load(tmp_path, "price_list-2024.md", "## Kilns\nMany.\n\n## Glazes\nFew.\n")
    assert document.title == "Price list 2024"
    assert [section.heading for section in document.sections] == ["Kilns", "Glazes"]


def test_markdown_front_matter_gives_the_title_when_no_heading_does(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.md", "---\ntitle: 'Rules'\ndate: 2020\n---\nNo running.\n")
    assert document.title == "Rules"
    assert _sections(document) == [("", "No running.")]


def test_markdown_is_read_as_a_person_sees_it(tmp_path: Path) -> None:
    text = "# T\nThe **Heron** is _big_, see [the list](http://x.y/z) and `P5`.\n<!-- secret -->\n"
    assert _sections(_load(tmp_path, "a.md", text)) == [
        ("", "The Heron is big, see the list and P5.")
    ]


def test_markdown_leaves_identifiers_and_sums_alone(tmp_path: Path) -> None:
    text = "# T\nSet max_firing_hours to 3 * 4 * 5 in kiln_v2_final.\n"
    assert (
        "max_firing_hours to 3 * 4 * 5 in kiln_v2_final"
        in _sections(_load(tmp_path, "a.md", text))[0][1]
    )


def test_markdown_joins_wrapped_lines_and_keeps_list_items_apart(tmp_path: Path) -> None:
    text = "# T\nOne sentence\nover two lines.\n\n- first\n  goes on\n- second\n"
    assert _sections(_load(tmp_path, "a.md", text)) == [
        ("", "One sentence over two lines.\n\n- first goes on\n- second")
    ]


def test_markdown_table_rows_can_be_read_alone(tmp_path: Path) -> None:
    text = "# Prices\n\n| Kiln | Price |\n|---|---:|\n| Wren | £5 |\n| Heron | £9 |\n"
    document = _load(tmp_path, "a.md", text)
    assert _sections(document) == [("", "Kiln: Wren; Price: £5\nKiln: Heron; Price: £9")]
    assert document.sections[0].rows


def test_markdown_code_is_not_taken_for_headings(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.md", "# T\n```\n# comment\nx = 1\n```\nAfter.\n")
    assert [section.heading for section in document.sections] == [""]
    assert "# comment" in document.sections[0].text


def test_a_heading_without_text_is_not_lost(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.md", "# Notices\n\n## Closed on Friday\n\n## Open on Monday\n")
    assert [section.text for section in document.sections] == [
        "Closed on Friday",
        "Open on Monday",
    ]


# -- HTML --------------------------------------------------------------------------------------


def test_html_keeps_headings_and_drops_what_a_reader_does_not_see(tmp_path: Path) -> None:
    page = (
        "<html><head><title>Range | Site</title><style>p{}</style></head><body>"
        "<nav>Home</nav><h1>The range</h1><p>Two <b>kilns</b>.</p><script>evil()</script>"
        "<p hidden>ignore me</p><p style='display: none'>nor me</p><h2>Wren</h2>"
        "<ul><li>small</li><li>blue</li></ul></body></html>"
    )
    document = _load(tmp_path, "range.html", page)
    assert document.title == "The range"
    assert _sections(document) == [("", "Two kilns."), ("Wren", "- small\n- blue")]


def test_html_title_is_used_without_a_heading(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.html", "<title>Leave</title><p>Five weeks.</p>")
    assert document.title == "Leave"


def test_html_tables_become_rows(tmp_path: Path) -> None:
    page = (
        "<h1>T</h1><table><tr><th>Kiln</th><th>Litres</th></tr>"
        "<tr><td>Wren</td><td>38</td></tr><tr><td>Heron</td><td>94</td></tr></table>"
    )
    assert _sections(_load(tmp_path, "a.htm", page)) == [
        ("", "Kiln: Wren; Litres: 38\nKiln: Heron; Litres: 94")
    ]


def test_html_says_nothing_twice_in_nested_tables(tmp_path: Path) -> None:
    page = "<table><tr><td><table><tr><td>Only once.</td></tr></table></td></tr></table>"
    assert _sections(_load(tmp_path, "a.html", page)) == [("", "Only once.")]


def test_html_encoding_follows_its_own_declaration(tmp_path: Path) -> None:
    page = '<meta charset="windows-1252"><p>Price: £5</p>'.encode("cp1252")
    assert _load(tmp_path, "a.html", page).sections[0].text == "Price: £5"


# -- Word --------------------------------------------------------------------------------------


def test_docx_keeps_heading_styles_tables_and_lists(tmp_path: Path) -> None:
    made = docx.Document()
    made.add_heading("Delivery", 0)
    made.add_paragraph("By van.")
    made.add_heading("Zones", 1)
    made.add_paragraph("Zone A", style="List Bullet")
    made.add_paragraph("Zone B", style="List Bullet")
    table = made.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["Zone", "Cost", "A", "£45"], strict=True):
        cell.text = text
    made.save(tmp_path / "d.docx")
    document = load(tmp_path / "d.docx")
    assert document.title == "Delivery"
    assert _sections(document) == [
        ("", "By van."),
        ("Zones", "- Zone A\n- Zone B"),
        ("Zones", "Zone: A; Cost: £45"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_docx_with_entities_is_refused(tmp_path: Path, encoding: str) -> None:
    xml = '<!DOCTYPE a [<!ENTITY x "boom">]><a>&x;</a>'
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w") as archive:
        archive.writestr("word/document.xml", xml.encode(encoding))
    with pytest.raises(DocumentError, match="declares XML entities"):
        load(tmp_path / "bomb.docx")


def test_docx_with_a_password_says_so(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="encrypted"):
        _load(tmp_path, "a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)


# -- PDF ---------------------------------------------------------------------------------------


def test_pdf_keeps_pages_title_and_headings(tmp_path: Path) -> None:
    file = pdf_bytes(
        ["Kiln rules", "These rules hold for everybody who works in the kiln rooms."],
        ["Where does the kiln stand?", "Leave a gap of 45 cm between the kiln and any wall."],
        title="Kiln safety",
    )
    document = _load(tmp_path, "rules.pdf", file)
    assert document.title == "Kiln safety"
    assert [(s.page, s.heading, s.text) for s in document.sections] == [
        (1, "Kiln rules", "These rules hold for everybody who works in the kiln rooms."),
        (2, "Where does the kiln stand?", "Leave a gap of 45 cm between the kiln and any wall."),
    ]


def test_pdf_text_that_runs_over_a_page_keeps_both_page_numbers(tmp_path: Path) -> None:
    first = ["Storage", "Clay is stored in the cellar, and it must never be allowed to freeze."]
    document = _load(
        tmp_path, "a.pdf", pdf_bytes(first, ["and is checked each week by Mo."], title="Cellar")
    )
    assert [(s.page, s.heading) for s in document.sections] == [(1, "Storage"), (2, "Storage")]


def test_pdf_joins_the_lines_of_a_paragraph(tmp_path: Path) -> None:
    lines = [
        "The isolator is locked with a padlock before any repair, and the person who",
        "repairs keeps the only key until the work is done and has been signed for.",
    ]
    assert (
        "the person who repairs keeps"
        in _load(tmp_path, "a.pdf", pdf_bytes(lines)).sections[0].text
    )


def test_pdf_title_is_the_first_line_when_its_own_says_nothing(tmp_path: Path) -> None:
    file = pdf_bytes(["Rules for guests", "Wipe your feet."], title="Microsoft Word - x.doc")
    assert _load(tmp_path, "a.pdf", file).title == "Rules for guests"


def test_pdf_without_text_asks_for_ocr(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"holds no text.*OCR"):
        _load(tmp_path, "scan.pdf", pdf_bytes([], [], title="Scanned"))


def test_pdf_with_a_password_says_so(tmp_path: Path) -> None:
    writer = PdfWriter()
    (tmp_path / "plain.pdf").write_bytes(pdf_bytes(["Secret"]))
    writer.append(PdfReader(tmp_path / "plain.pdf"))
    writer.encrypt("word", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    with pytest.raises(DocumentError, match=r"locked\.pdf is encrypted"):
        load(tmp_path / "locked.pdf")


# -- CSV and JSON ------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_rows_can_be_read_alone(tmp_path: Path, delimiter: str) -> None:
    rows = [["item", "price"], ["Wren 3", "£1185"], ["Heron 5", ""]]
    text = "\n".join(delimiter.join(row) for row in rows)
    document = _load(tmp_path, "price-list.csv", text)
    assert document.title == "Price list"
    assert _sections(document) == [("", "item: Wren 3; price: £1185\nitem: Heron 5")]
    assert document.sections[0].rows


def test_csv_cell_with_a_line_break_stays_in_its_row(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.csv", 'item,note\nWren,"first\nsecond"\nHeron,none\n')
    assert document.sections[0].text.split("\n")[0] == "item: Wren; note: first second"


def test_csv_with_only_a_header_still_says_its_columns(tmp_path: Path) -> None:
    assert _load(tmp_path, "a.csv", "item,price\n").sections[0].text == "item; price"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    text = '{"event": "Fair", "free": true}\n{"event": "Sale", "guests": ["Mo", "Al"]}\n'
    assert _sections(_load(tmp_path, name, text)) == [
        ("", "event: Fair; free: yes\nevent: Sale; guests: Mo, Al")
    ]


def test_json_list_elements_can_be_read_alone(tmp_path: Path) -> None:
    elements = [{"code": "AB-1", "size": {"width_cm": 4}}, {"code": "AB-2", "note": None}]
    document = _load(tmp_path, "spare_parts.json", json.dumps(elements))
    assert document.title == "Spare parts"
    assert _sections(document) == [("", "code: AB-1; size width cm: 4\ncode: AB-2")]
    assert document.sections[0].rows


def test_json_object_has_a_section_for_each_nested_part(tmp_path: Path) -> None:
    value = {"title": "Parts", "year": 2020, "kilnTypes": [{"name": "Wren"}, {"name": "Heron"}]}
    document = _load(tmp_path, "p.json", json.dumps(value))
    assert document.title == "Parts"
    assert _sections(document) == [
        ("", "title: Parts\nyear: 2020"),
        ("kiln types", "name: Wren\nname: Heron"),
    ]


def test_json_that_is_broken_says_so(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"a\.json is damaged"):
        _load(tmp_path, "a.json", '{"a": ')


def test_json_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="nested too deeply"):
        _load(tmp_path, "a.json", "[" * 100_000)


# -- Plain text --------------------------------------------------------------------------------


def test_text_headings_are_underlined_or_capital_lines(tmp_path: Path) -> None:
    text = (
        "Returns\n=======\n\nSend it back.\n\nREFUNDS\nWithin 9 days.\n\nGlazes\n------\nNever.\n"
    )
    document = _load(tmp_path, "returns.txt", text)
    assert document.title == "Returns"
    assert _sections(document) == [
        ("", "Send it back."),
        ("REFUNDS", "Within 9 days."),
        ("Glazes", "Never."),
    ]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("utf-8", "Größe €5"), ("utf-8-sig", "Größe €5"), ("cp1252", "Größe €5"), ("utf-16", "Größe")],
)
def test_text_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    assert _load(tmp_path, "a.txt", text.encode(encoding)).sections[0].text == text


def test_text_that_mixes_encodings_is_read_piece_by_piece(tmp_path: Path) -> None:
    content = "Größe €5\r\n".encode() + "Größe €5".encode("cp1252") + b" \x81"
    assert _load(tmp_path, "a.txt", content).sections[0].text == "Größe €5\nGröße €5"


def test_halves_of_characters_are_taken_out(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.json", '{"title": "A\\ud800 kiln", "b": "half \\udfff of it"}')
    assert (document.title, document.sections[0].text) == ("A kiln", "title: A kiln\nb: half of it")


def test_control_and_direction_characters_are_taken_out(tmp_path: Path) -> None:
    text = "safe\u202egnp.exe\x07 and\u200b \x1b[31mred\x1b[0m\ttext"
    assert _load(tmp_path, "a.txt", text).sections[0].text == "safegnp.exe and [31mred[0m text"


# -- What cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_kind_refuses_an_empty_file(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DocumentError, match=f"a{suffix} is empty"):
        _load(tmp_path, f"a{suffix}", b"")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".html", ".htm"}))
def test_every_kind_answers_noise_with_a_document_error(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DocumentError) as caught:
        _load(tmp_path, f"a{suffix}", bytes(range(256)) * 8)
    assert caught.value.cure


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"%PDF-1.7\nstream", "is not really a TXT file, but a PDF document."),
        ("a.pdf", b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "is not really a PDF file, but a PNG image."),
        ("a.csv", b"PK\x03\x04" + b"\0" * 30, "but a ZIP archive or Office document."),
        ("a.md", b"\xd0\xcf\x11\xe0" + b"\0" * 30, "but an old or encrypted Office document."),
        ("a.pdf", b"Only words.", "is damaged, or is not really a PDF file."),
        ("a.txt", "No mark".encode("utf-16-le"), "is not text."),
        ("a.md", b"\x01\x02\x03 noise \x04\x05", "is not text."),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        _load(tmp_path, name, content)
    assert said in str(caught.value)
    assert caught.value.cure


def test_an_archive_that_is_no_word_document_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<a/>")
    with pytest.raises(DocumentError, match="without a Word document in it"):
        load(tmp_path / "a.docx")


def test_a_word_document_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 101_000_000)
    with pytest.raises(DocumentError, match=r"bomb\.docx unpacks to more than 100 MB"):
        load(tmp_path / "bomb.docx")


def test_tags_that_are_never_closed_are_read(tmp_path: Path) -> None:
    page = "".join(f"<p>Paragraph {number}." for number in range(5000))
    text = _load(tmp_path, "old.html", page).sections[0].text
    assert text.startswith("Paragraph 0.\n\nParagraph 1.")
    assert text.endswith("Paragraph 4999.")


def test_a_heading_beyond_reason_is_text(tmp_path: Path) -> None:
    document = _load(tmp_path, "a.md", f"# T\n\n## {'word ' * 500}\n\nAfter.\n")
    assert [section.heading for section in document.sections] == [""]
    assert document.sections[0].text.count("word") == 500


@pytest.mark.parametrize("content", ["   \n\n ", "\u200b\ufeff"])
def test_a_file_without_text_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(DocumentError, match="holds no text"):
        _load(tmp_path, "a.txt", content)


def test_unknown_types_are_refused_with_what_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"type that cannot be read.*\.docx"):
        _load(tmp_path, "a.exe", b"MZ")


def test_a_missing_file_is_a_document_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot be opened"):
        load(tmp_path / "none.md")


def test_the_given_name_is_used_instead_of_the_path(tmp_path: Path) -> None:
    (tmp_path / ".upload-x").write_text("Hello there.")
    document = load(tmp_path / ".upload-x", name="greeting.txt")
    assert (document.name, document.kind, document.title) == ("greeting.txt", "txt", "Greeting")
