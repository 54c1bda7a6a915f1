"""Cuts Markdown role documents into passages as Sconce's own chunker does (crates/rag: parse/markdown, sentence, chunk).

Passages that a model trains on should look like those that the server gives it. What few documents have is left out: HTML
blocks, front matter, code, texts without spaces.
"""

import re
from dataclasses import dataclass, field

MAX_CHUNK_WORDS = 220
COMFORTABLE_WORDS = 110
MAX_UNIT_WORDS = 60

ABBREVIATIONS = set(
    (
        "e.g i.e etc mr mrs ms dr prof st no vs inc ltd co corp jr sr approx dept est fig " "u.s u.k ph.d m.d b.a b.s m.a m.s d.c"
    ).split()
)
NOTICES = ("please enable javascript", "video transcript available at", "skip to content", "skip to main")
CLOSERS = ".!?\"'”’)]*_"
OPENERS = "\"'“‘([*_"
HEADING = re.compile(r"(#{1,6})\s+(.*)")
ITEM = re.compile(r"\s*(?:[*+-]|\d{1,3}[.)])\s+(?=\S)")
METADATA = re.compile(r"(title|source|url|date|last updated):?\s", re.I)


@dataclass
class Unit:
    """A sentence, item, row or table head: characters `start` to `end` of its chunk's text."""

    kind: str
    start: int
    end: int


@dataclass
class Chunk:
    """A passage: the headings above it, its text, and the units in it."""

    section: str
    text: str
    units: list

    def unit(self, index):
        return self.text[self.units[index].start : self.units[index].end]


@dataclass
class Document:
    title: str
    chunks: list = field(default_factory=list)


def trim(text, start, end):
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def sentences(text, offset=0):
    """Ranges of the sentences of a text."""
    found, start, at = [], 0, 0
    while at < len(text):
        if text[at] not in ".!?":
            at += 1
            continue
        end = at + 1
        while end < len(text) and text[end] in CLOSERS:
            end += 1
        if ends_here(text, start, at, end):
            found.append(trim(text, start, end))
            start = end
        at = end
    found.append(trim(text, start, len(text)))
    return [(offset + a, offset + b) for a, b in found if b > a]


def ends_here(text, start, at, end):
    rest = text[end:]
    if rest and not rest[0].isspace():
        return False
    follows = next((c for c in rest.lstrip() if c not in OPENERS), None)
    if follows is None:
        return True
    if follows.islower():
        return False
    if text[at] != ".":
        return True
    word = re.split(r"[\s(]", text[start:at])[-1].lstrip('"“*_').lower()
    return not ((len(word) == 1 and word.isalpha()) or word in ABBREVIATIONS)


def heading_text(text):
    """A heading without markup and without the link text at its end."""
    text = re.sub(r"\\([*_\\])", r"\1", re.sub(r"(?<!\\)[*`]", "", text))
    text = re.sub(r"\s*about this section$", "", " ".join(text.split()), flags=re.I)
    return text.strip().rstrip(":")


def is_furniture(block):
    def furniture(line):
        arrow = len(line) <= 120 and (line.startswith(("<-", "←")) or line.endswith(("->", "→")))
        return arrow or line.lower() == "about this section" or line.lower().startswith(NOTICES)

    return all(furniture(line.strip()) for line in block.splitlines() if line.strip())


def parse(text, name):
    """The document of a Markdown text: title and chunks."""
    document, path, blocks, titled = Document(name), [], [], False

    def close():
        document.chunks.extend(cut_section(text, " › ".join(h for _, h in path), blocks))
        blocks.clear()

    for kind, start, end in split_blocks(text):
        if kind != "heading":
            blocks.append((kind, start, end))
            continue
        marks, words = HEADING.match(text[start:end]).groups()
        words, level = heading_text(words), len(marks)
        if not words:
            continue
        close()
        if level == 1 and not titled:
            document.title, titled, path = words, True, []
        else:
            path = [(above, h) for above, h in path if above < level] + [(level, words)]
    close()
    return document


def split_blocks(text):
    """Kind and range of each block in order: heading, paragraph, item, row, head."""
    lines, at = [], 0
    for line in text.splitlines(keepends=True):
        lines.append((at, at + len(line.rstrip("\n"))))
        at += len(line)
    found, open_kind, columns = [], None, 0
    for index, (start, end) in enumerate(lines):
        line = text[start:end]
        after = text[slice(*lines[index + 1])] if index + 1 < len(lines) else ""
        if not line.strip() or re.fullmatch(r"\s*([-*_]\s*){3,}", line):
            open_kind = None
        elif HEADING.match(line):
            found.append(("heading", start, end))
            open_kind = None
        elif line.lstrip().startswith("|"):
            if re.fullmatch(r"[|\s:-]+", line) and "-" in line:
                open_kind = "table"
                continue
            is_head = bool(open_kind != "table" and re.fullmatch(r"\s*\|[|\s:-]+", after) and "-" in after)
            columns = len(line.strip().strip("|").split("|")) if is_head else columns
            filled = sum(bool(cell.strip()) for cell in line.split("|"))
            head = is_head or (columns >= 3 and filled * 2 < columns)
            a = start + len(line) - len(line.lstrip("| \t"))
            found.append(("head" if head else "row", a, max(a, start + len(line.rstrip("| \t")))))
            open_kind = "table"
        elif re.match(r":\s{1,3}\S", line) and found and open_kind == "paragraph":
            found[-1] = ("row", found[-1][1], end)
            open_kind = "row"
        elif ITEM.match(line):
            found.append(("item", start + ITEM.match(line).end(), end))
            open_kind = "item"
        elif open_kind in ("paragraph", "item"):
            found[-1] = (found[-1][0], found[-1][1], end)
        else:
            found.append(("paragraph", start, end))
            open_kind = "paragraph"
    return found


def cut_section(text, section, blocks):
    """Chunks of one section's blocks."""
    chunks, units, words, gap = [], [], 0, False

    def close():
        nonlocal units, words
        if units:
            start, end = units[0][1], units[-1][2]
            moved = [Unit(kind, a - start, b - start) for kind, a, b in units]
            chunks.append(Chunk(section, text[start:end], moved))
        units, words = [], 0

    for kind, start, end in blocks:
        start, end = trim(text, start, end)
        block = text[start:end]
        if not any(c.isalnum() for c in block):
            continue
        metadata = not section and kind == "paragraph" and all(METADATA.match(line) for line in block.splitlines())
        if is_furniture(block) or metadata:
            gap = True
            continue
        pieces = block_units(text, kind, start, end)
        count = sum(len(text[a:b].split()) for _, a, b in pieces)
        if gap or (words >= COMFORTABLE_WORDS and words + count > MAX_CHUNK_WORDS):
            close()
        gap = False
        for piece in pieces:
            count = len(text[piece[1] : piece[2]].split())
            if words + count > MAX_CHUNK_WORDS:
                close()
            words += count
            units.append(piece)
    close()
    return chunks


def block_units(text, kind, start, end):
    if kind != "paragraph" and len(text[start:end].split()) <= MAX_UNIT_WORDS:
        return [(kind, start, end)]
    kind = "head" if kind == "head" else "sentence"
    return [(kind, a, b) for a, b in sentences(text[start:end], start)]
