"""Small files of every format, made in memory, sound ones; tests break them."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

W = 'xmlns:w="urn:w" xmlns:mc="urn:mc"'


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zipped(members: Mapping[str, bytes], *, stored: bool = False) -> bytes:
    buffer = io.BytesIO()
    kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return buffer.getvalue()


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(
    body: str, title: str = "", properties: str = "", styles: str = "", footnotes: str = ""
) -> bytes:
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    members = {"word/document.xml": document.encode()}
    if title or properties:
        inside = f"<dc:title>{title}</dc:title>{properties}"
        core = f'<c:p xmlns:c="urn:c" xmlns:dc="urn:dc">{inside}</c:p>'
        members["docProps/core.xml"] = core.encode()
    if styles:
        members["word/styles.xml"] = styles.encode()
    if footnotes:
        members["word/footnotes.xml"] = footnotes.encode()
    return zipped(members)


def xlsx(**sheets: Sequence[Sequence[object]]) -> bytes:
    """A workbook; a cell may be a pair of a value and its number format."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for i, row in enumerate(rows, 1):
            for j, told in enumerate(row, 1):
                value, form = told if isinstance(told, tuple) else (told, "")
                cell = sheet.cell(i, j, value)
                cell.number_format = form or cell.number_format
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def odf(body: str, properties: str = "", listed: str = "") -> bytes:
    """An OpenDocument file; ``body``: an ``office:text``, ``spreadsheet``, ...."""
    kinds = "office text table draw presentation dc meta svg"
    space = " ".join(f'xmlns:{kind}="urn:{kind}"' for kind in kinds.split())
    content = f"<office:document-content {space}><office:body>{body}</office:body>"
    members = {"content.xml": f"{content}</office:document-content>".encode()}
    if properties:
        members["meta.xml"] = f"<office:meta {space}>{properties}</office:meta>".encode()
    if listed:
        members["META-INF/manifest.xml"] = listed.encode()
    return zipped(members)


def shape(*paragraphs: str, kind: str = "") -> str:
    told = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in paragraphs)
    place = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    return f"<p:sp>{place}<p:txBody>{told}</p:txBody></p:sp>"


def pptx(slides: Sequence[str], notes: str = "", title: str = "") -> bytes:
    """Slides, the last one stored first; ``notes`` belong to the first one shown."""
    space = 'xmlns:p="urn:p" xmlns:a="urn:a" xmlns:r="urn:r"'
    numbers = range(len(slides), 0, -1)
    shown = "".join(f'<p:sldId id="{256 + n}" r:id="rId{n}"/>' for n in numbers)
    links = "".join(
        f'<Relationship Id="rId{n}" Type="http://x/slide" Target="slides/slide{n}.xml"/>'
        for n in numbers
    )
    members = {
        "ppt/presentation.xml": f"<p:presentation {space}>{shown}</p:presentation>",
        "ppt/_rels/presentation.xml.rels": f"<Relationships>{links}</Relationships>",
    }
    for number, slide in zip(numbers, slides, strict=True):
        members[f"ppt/slides/slide{number}.xml"] = f"<p:sld {space}>{slide}</p:sld>"
    if notes:
        link = '<Relationship Id="a" Type="x/notesSlide" Target="../notesSlides/n.xml"/>'
        part = f"ppt/slides/_rels/slide{len(slides)}.xml.rels"
        members[part] = f"<Relationships>{link}</Relationships>"
        members["ppt/notesSlides/n.xml"] = f"<p:notes {space}>{notes}</p:notes>"
    if title:
        core = f'<c:p xmlns:c="urn:c" xmlns:dc="urn:dc"><dc:title>{title}</dc:title></c:p>'
        members["docProps/core.xml"] = core
    return zipped({name: text.encode() for name, text in members.items()})


def epub(pages: Sequence[str], title: str = "", encryption: str = "") -> bytes:
    """Pages of XHTML, listed in another order than they are read."""
    items = "".join(
        f'<item id="p{n}" href="text/page%20{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in reversed(range(len(pages)))
    )
    spine = "".join(f'<itemref idref="p{n}"/>' for n in range(len(pages)))
    members = {
        "META-INF/container.xml": '<container><rootfile full-path="OPS/book.opf"/></container>',
        "OPS/book.opf": f"<package><metadata><title>{title}</title><date>2021-05-01</date>"
        f"</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
    }
    for number, page in enumerate(pages):
        members[f"OPS/text/page {number}.xhtml"] = f"<html><head><title/></head>{page}</html>"
    if encryption:
        members["META-INF/encryption.xml"] = (
            f'<encryption><CipherReference URI="{encryption}"/></encryption>'
        )
    return zipped({name: text.encode() for name, text in members.items()})


MAIL = (
    "From: Ann =?utf-8?q?Zo=C3=AB?= <ann@a.example>\r\nTo: ben@b.example\r\n"
    "Subject: The\r\n move\r\n"
    "Date: Tue, 3 Mar 2026 09:30:00 +0100\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n'
    "Content-Type: text/{kind}; charset=utf-8\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    "{body}\r\n--x\r\nContent-Type: application/pdf\r\n"
    'Content-Disposition: attachment; filename="plan.pdf"\r\n\r\n%PDF\r\n--x--\r\n'
)


class Line(NamedTuple):
    """A line in Helvetica, or Helvetica-Bold; ``scaled``: its size is told by a matrix."""

    text: str
    size: float = 12
    bold: bool = False
    scaled: bool = False

    @property
    def shown(self) -> str:
        font, size = "B" if self.bold else "F", self.size
        matrix = f"{size} 0 0 {size} 72 {{y}} Tm" if self.scaled else "1 0 0 1 72 {y} Tm"
        return f"/{font} {1 if self.scaled else size} Tf {matrix} ({self.text}) Tj "


class Cells(NamedTuple):
    """Cells on one line, which begin at their ``lefts``."""

    texts: Sequence[str]
    lefts: Sequence[int] = (72, 200, 330)
    bold: bool = False

    @property
    def shown(self) -> str:
        places = zip(self.texts, self.lefts, strict=False)
        told = " ".join(f"1 0 0 1 {left} {{y}} Tm ({text}) Tj" for text, left in places)
        return f"/{'B' if self.bold else 'F'} 12 Tf {told} "


def rules(lefts: Sequence[int], lines: Sequence[int]) -> str:
    """What draws rules above these lines of a page, and upright ones."""
    heights = [720 - 26 * (n - 0.6) for n in lines]
    wide, high = lefts[-1] - lefts[0], heights[0] - heights[-1]
    level = (f"{lefts[0]} {y} {wide} 1 re f" for y in heights)
    upright = (f"{left} {heights[-1]} m {left} {heights[-1] + high} l S" for left in lefts)
    return " ".join([*level, *upright])


def pdf(
    pages: Sequence[Sequence[str | Line | Cells]],
    title: str = "",
    extra: str = "",
    properties: str = "",
    drawn: str = "",
) -> bytes:
    """A PDF of lines of text; ``extra`` goes into the trailer, ``properties`` beside the title,
    and ``drawn`` is on each page."""
    kids = " ".join(f"{6 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Title({title}){properties}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>",
    ]
    for number, lines in enumerate(pages):
        told = [Line(line) if isinstance(line, str) else line for line in lines]
        shown = "".join(line.shown.format(y=720 - 26 * n) for n, line in enumerate(told))
        stream = f"BT {shown}ET {drawn}"
        font = "/Resources<</Font<</F 3 0 R/B 5 0 R>>>>/MediaBox[0 0 900 800]"
        objects += [
            f"<</Type/Page/Parent 2 0 R{font}/Contents {7 + 2 * number} 0 R>>",
            f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream",
        ]
    content, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(f"{len(content):010} 00000 n \n")
        content += f"{number} 0 obj\n{body}\nendobj\n"
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{''.join(places)}"
    trailer = f"trailer\n<</Root 1 0 R/Info 4 0 R/Size {len(objects) + 1}{extra}>>"
    return f"{content}{table}{trailer}\nstartxref\n{len(content)}\n%%EOF".encode("latin-1")


def encrypted_pdf() -> bytes:
    """Under the standard handler, with a password that nobody knows."""
    key = "<" + "5a" * 32 + ">"
    handler = f"/Encrypt<</Filter/Standard/V 1/R 2/O{key}/U{key}/P -4>>/ID[<00><00>]"
    return pdf([["Secret."]], extra=handler)


def page(title: str, text: str, ns: int = 0, redirect: str = "") -> str:
    to = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>1</id>{to}"
        f"<revision><id>2</id><timestamp>2006-03-04T05:06:07Z</timestamp><text>{text}</text>"
        "</revision></page>"
    )


def dump(pages: Sequence[str], *, compressed: bool = False) -> bytes:
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11">'
    site = "<siteinfo><sitename>Wikipedia</sitename></siteinfo>"
    content = f"{head}{site}{''.join(pages)}</mediawiki>".encode()
    return bz2.compress(content) if compressed else content
