"""What a passage tells, and how it is asked and answered. A fact is a question's kind and the units that answer it.

Kinds with a name are recognized on real pages by their words or headings, and written into invented ones. Two kinds fit every
page: a row of a table ("row", asked by its label) and a sentence asked by some of its own words ("about").
"""

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from chunks import Chunk

LIST_ITEMS = 4

PHRASINGS = tomllib.loads(Path(__file__).with_name("phrasings.toml").read_text())
QUESTIONS = PHRASINGS["questions"]
# Sentences that answer a kind wherever they stand; under these headings, the first sentences; rows by their label; lists.
SENTENCES = {
    "pay": r"^(The )?median (annual|hourly) wage (for|of) .* was \$|^The median annual wage for",
    "range": r"^The lowest 10 percent earned less than",
    "growth": r"^(Overall e|E)mployment of .* is projected to .* from 20\d\d to",
    "openings": r"^(Despite .*, a|A)bout .* openings for .* are projected each year",
    "jobs": r"^.{3,90} held about .* jobs in 20\d\d\.$",
}
HEADINGS = [
    ("what", r"^What .* Do$", 1),
    ("environment", r"^Work Environment$", 1),
    ("schedule", r"^Work Schedules$", 1),
    ("become", r"^How to Become", 2),
    ("education", r"^Education( and Training)?$", 1),
    ("training", r"^Training$", 1),
    ("licence", r"^Licenses, Certifications", 1),
    ("licence", r"^Certifications$", 1),
    ("experience", r"^(Work|Other)? ?Experience", 1),
    ("advancement", r"^Advancement$", 1),
    ("injuries", r"^Injuries and Illnesses$", 1),
    ("titles", r"^Job titles$", 1),
]
ROW_KINDS = {
    "Typical Entry-Level Education": "education",
    "2024 Median Pay": "pay",
    "On-the-job Training": "training",
    "Work Experience in a Related Occupation": "experience",
    "Number of Jobs, 2024": "jobs",
    "Job Outlook, 2024–34": "growth",
}
LISTS = [("duties", r"^(Duties|Tasks)"), ("tools", r"^Technology$"), ("skills", r"^(Technical skills|Soft skills|Skills)")]
STOP = set(
    (
        "a about above after again all also am an and any are as at be because been before being below between both but by can "
        "cannot could did do does during each ensure few for from further get had has have having he help her here him his how "
        "i if in include includes including into is it its itself just many may more most much must my need no nor not of off "
        "often on once one only or other our out over own same she should so some such than that the their them then there "
        "these they this those through to too typically under until up us use used using usually very was we well were what "
        "when where which while who whom whose why will with within work works would you your"
    ).split()
)


@dataclass
class Fact:
    """A question of this kind (about `subject`, where the kind leaves it open) is answered by these units of the chunk."""

    kind: str
    units: list
    subject: str = ""
    form: str = "sentences"

    def same(self, other):
        return self.kind == other.kind and self.subject.lower() == other.subject.lower()


def question(fact, forms, rng: random.Random):
    text = rng.choice(QUESTIONS[fact.kind]).format(subject=fact.subject, **forms)
    text = text[:1].upper() + text[1:]
    draw = rng.random()
    if draw < 0.06:
        text = text.rstrip("?.")
    if draw > 0.92:
        text = text[:1].lower() + text[1:]
    return text


def cited(text, number):
    """A sentence with its passage's number: "… in May 2024 [1]."."""
    return f"{' '.join(text.split(chr(10))).rstrip(' .')} [{number}]."


def answer(fact: Fact, chunk: Chunk, number):
    pieces = [chunk.unit(index) for index in fact.units]
    if fact.form == "list":
        return cited("; ".join(piece.rstrip(".;") for piece in pieces[:LIST_ITEMS]), number)
    if fact.form == "led":
        items = "; ".join(piece.rstrip(".;") for piece in pieces[1 : LIST_ITEMS + 1])
        return cited(f"{pieces[0]} {items}", number)
    if fact.form == "row":
        label, value = cells(pieces[0])
        return cited(f"{label}: {value}", number)
    return " ".join(cited(piece, number) for piece in pieces)


def cells(row):
    """Label and value of a row of two cells, else None."""
    parts = [part.strip() for part in re.split(r"\||\n:\s+", row)]
    return parts if len(parts) == 2 and all(parts) else None


def facts_of(chunk: Chunk):
    """Facts of a real page's chunk, but for those asked by a sentence's own words."""
    found = []
    heading = chunk.section.rsplit(" › ", 1)[-1]
    kinds = [unit.kind for unit in chunk.units]
    for index, unit in enumerate(chunk.units):
        text = chunk.unit(index)
        if unit.kind == "sentence":
            found += [Fact(kind, [index]) for kind, pattern in SENTENCES.items() if re.search(pattern, text)]
            label = re.fullmatch(r"\*{2,3}([A-Z][\w ,-]{3,40})\.?\*{2,3}\.?(\*\*)?", text)
            if label and index + 1 < len(kinds) and kinds[index + 1] == "sentence":
                found.append(Fact("quality", [index + 1], label[1].lower().rstrip(".")))
        elif unit.kind == "row" and cells(text) and not chunk.section.startswith(("Pay", "Job Outlook", "Work Environment")):
            label = cells(text)[0]
            kind = ROW_KINDS.get(label)
            found.append(Fact(kind, [index], form="row") if kind else Fact("row", [index], lower_label(label), "row"))
    good = [index for index, kind in enumerate(kinds) if kind == "sentence" and is_statement(chunk.unit(index))]
    named = {fact.kind for fact in found}
    for kind, pattern, count in HEADINGS:
        if kind in ("what", "environment", "become") and not chunk.section.startswith("Summary"):
            continue  # These begin with a sentence that was pulled out of the text below.
        if good and good[0] == 0 and kind not in named and re.search(pattern, heading):
            found.append(Fact(kind, [index for index in good[:count] if index < count]))
    if not chunk.section and good and good[0] == 0:
        found.append(Fact("what", [0]))
    if heading.endswith("?") and good and good[0] == 0:
        found.append(Fact("heading", good[:1], heading))
    found += list_facts(chunk, heading, kinds)
    return found


def list_facts(chunk, heading, kinds):
    items = [index for index, kind in enumerate(kinds) if kind == "item"]
    if len(items) < 2:
        return []
    first = items[0]
    if first > 0 and chunk.unit(first - 1).endswith(":") and "do the following" in chunk.unit(first - 1):
        return [Fact("duties", [first - 1, *items[:LIST_ITEMS]], form="led")]
    for kind, pattern in LISTS:
        if re.search(pattern, heading):
            return [Fact(kind, items[:LIST_ITEMS], form="list")]
    return []


def is_statement(text):
    return text.endswith((".", "!")) and 25 <= len(text) <= 330 and not text.startswith(("Note:", "Source:", "For more", "***"))


def lower_label(label):
    return " ".join(word if sum(c.isupper() for c in word) > 1 else word.lower() for word in label.split())


def about(chunk: Chunk, rng: random.Random):
    """A sentence or item of the chunk, asked by some of its words that no other unit has together; None without one."""
    for _ in range(4):
        index = rng.randrange(len(chunk.units))
        text = chunk.unit(index)
        if chunk.units[index].kind not in ("sentence", "item") or not 25 <= len(text) <= 330 or text.endswith((":", "?")):
            continue
        words = re.findall(r"[A-Za-z][\w'’-]*", text)
        telling = [word for word in words[1:] if word.lower() not in STOP and len(word) > 4]
        for _ in range(5):
            if rng.random() < 0.5 and len(telling) > 2:
                first, second = sorted(rng.sample(range(len(telling)), 2))
                subject = f"{telling[first]} and {telling[second]}"
            else:
                count = rng.choice([1, 2, 2, 3])
                start = rng.randrange(1, max(2, len(words) - count))
                span = words[start : start + count]
                subject = " ".join(span)
                if not span or {span[0].lower(), span[-1].lower()} & STOP or len(subject) < 5 or subject not in text:
                    continue
            if sum(speaks_of(chunk.unit(other), subject) for other in range(len(chunk.units))) == 1:
                return Fact("about", [index], subject)
    return None


def speaks_of(text, subject):
    """Whether a text has all words of the subject that tell something."""
    text = text.lower()
    return all(word in text for word in subject.lower().split() if word not in STOP)
