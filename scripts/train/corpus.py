"""Reads the role documents, cuts them into passages, and holds out a tenth of the occupations.

Usage: corpus.py --data FOLDER prints what there is. FOLDER has ooh/*.md (pages of the Occupational Outlook Handbook as
Markdown) and onet/occupations.jsonl (O*NET records); the sample corpus is the repository's own.
"""

import argparse
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import names
from chunks import Document, parse

SAMPLES = Path(__file__).resolve().parents[2] / "corpus" / "roles"
HELD_OUT_OF = 10
# Sections that tell nothing about the role, or name other occupations.
PASSED_OVER = ("State & Area Data", "Contacts for More Information", "Similar Occupations", "More Information")


@dataclass
class Page:
    """One role document: where it came from, its title, other names of the role, its chunks."""

    source: str
    title: str
    aliases: list
    chunks: list
    codes: list
    held_out: bool = False


def load(data):
    """All pages; `held_out` is set for those whose occupation is."""
    pages = [*load_ooh(data / "ooh"), *load_onet(data / "onet" / "occupations.jsonl"), *load_samples()]
    for group in groups(pages):
        name = min(page.title.lower() for page in group)
        is_out = int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT_OF == 0
        for page in group:
            page.held_out = is_out
    drop_mentions(pages)
    return pages


def load_ooh(folder):
    for path in sorted(folder.glob("*.md")):
        text = path.read_text()
        codes = re.findall(r"\| (\d\d-\d{4}) \|", text)
        yield page_of("ooh", parse(text, path.stem), [], codes)


def load_onet(path):
    for line in path.read_text().splitlines():
        record = json.loads(line)
        document = parse(onet_markdown(record), record["title"])
        aliases = [re.sub(r"\s*\(.*\)", "", title) for title in record["alternate_titles"]]
        yield page_of("onet", document, aliases, [record["code"][:7]])


def load_samples():
    for path in sorted(SAMPLES.glob("*.md")):
        yield page_of("sample", parse(path.read_text(), path.stem), [], [])


def page_of(source, document: Document, aliases, codes):
    chunks = [chunk for chunk in document.chunks if not any(name in chunk.section for name in PASSED_OVER)]
    return Page(source, document.title, aliases, chunks, codes)


def onet_markdown(record):
    """An O*NET record as a role document."""
    lines = [f"# {record['title']}", "", record["description"]]
    for heading, key in [("Tasks", "tasks"), ("Technology", "technology")]:
        if record[key]:
            lines += ["", f"## {heading}", "", *(f"- {item}" for item in record[key][:12])]
    if record["alternate_titles"]:
        titles = ", ".join(re.sub(r"\s*\(.*\)", "", title) for title in record["alternate_titles"][:6])
        lines += ["", "## Job titles", "", f"Reported job titles are {titles}."]
    return "\n".join(lines) + "\n"


def groups(pages):
    """Pages of the same occupation: those that share a code, a broader code (ending in 0), or a title."""
    parent = {}

    def root(key):
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    known = {code for page in pages if page.source == "onet" for code in page.codes}
    for index, page in enumerate(pages):
        keys = [("title", names.singular(page.title).lower())]
        for code in page.codes:
            broad = code.endswith("0") and code not in known
            keys += [("code", other) for other in known if other[:6] == code[:6]] if broad else [("code", code)]
        for key in keys:
            parent[root(key)] = root(("page", index))
    found = {}
    for index, page in enumerate(pages):
        found.setdefault(root(("page", index)), []).append(page)
    return list(found.values())


def drop_mentions(pages):
    """Takes chunks that name a held-out page out of the pages trained on."""
    titles = [page.title for page in pages if page.held_out and page.source != "onet" and len(page.title.split()) > 1]
    if not titles:
        return
    named = re.compile("|".join(rf"\b{re.escape(title)}\b" for title in titles), re.I)
    for page in pages:
        if not page.held_out:
            page.chunks = [chunk for chunk in page.chunks if not named.search(chunk.text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    pages = load(parser.parse_args().data)
    for source in ("ooh", "onet", "sample"):
        of = [page for page in pages if page.source == source]
        out = [page for page in of if page.held_out]
        chunks = sum(len(page.chunks) for page in of)
        print(f"{source}: {len(of)} pages, {len(out)} of them held out, {chunks} passages")
    print("held out:", ", ".join(sorted(page.title for page in pages if page.held_out and page.source != "onet")))


if __name__ == "__main__":
    main()
