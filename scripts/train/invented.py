"""Invented roles: real titles with random figures and borrowed duties, so that the model has to read instead of remembering."""

import random
import re

import facts
import names
from chunks import Chunk, Unit
from corpus import Page
from facts import PHRASINGS, Fact

WORDS = PHRASINGS["words"]
SENTENCES = [(entry["kind"], entry["headings"], entry["texts"]) for entry in PHRASINGS["sentence"]]
ROWS = [(entry["kind"], entry["labels"], entry["values"]) for entry in PHRASINGS["row"]]


class Inventor:
    """Makes pages about roles with these titles; lists are borrowed from these chunks."""

    def __init__(self, titles, chunks):
        self.titles = titles
        self.chunks = chunks
        self.lists = [(chunk, fact) for chunk in chunks for fact in facts.facts_of(chunk) if fact.form in ("list", "led")]

    def page(self, rng: random.Random, kinds=(), size=3, title=None):
        """A page of `size` passages, with a fact of each of `kinds` among them."""
        title = title or rng.choice(self.titles)
        forms = {**names.forms(title, rng), "title": title}
        chunks = [self.chunk(rng, forms, kind) for kind in kinds]
        have = set(kinds)
        while len(chunks) < size:
            kind = rng.choice(list(MAKERS)) if rng.random() < 0.4 else rng.choice(SENTENCES)[0]
            if kind not in have:
                have.add(kind)
                chunks.append(self.chunk(rng, forms, kind))
        page = Page("invented", title if rng.random() < 0.6 else names.plural(title), [], [chunk for chunk, _ in chunks], [])
        return page, [found for _, found in chunks]

    def chunk(self, rng, forms, kind):
        """A passage that tells this kind, with its facts."""
        if kind in MAKERS:
            return MAKERS[kind](self, rng, forms)
        _, headings, sentences = next(entry for entry in SENTENCES if entry[0] == kind)
        heading = rng.choice(headings)
        texts, found = [fill(rng.choice(sentences), rng, forms, self.titles)], [Fact(kind, [0])]
        others = [entry for entry in SENTENCES if entry[0] != kind and heading in entry[1]]
        rng.shuffle(others)
        for other, _, more in others[: rng.choice([0, 0, 1, 1, 2])]:
            texts.append(fill(rng.choice(more), rng, forms, self.titles))
            found.append(Fact(other, [len(texts) - 1]))
        for _ in range(rng.choice([0, 0, 1])):
            texts.append(self.filler(rng))
        order = list(range(len(texts)))
        rng.shuffle(order)
        found = [Fact(fact.kind, [order.index(fact.units[0])]) for fact in found]
        return joined(heading, [texts[index] for index in order], " ", "sentence"), found

    def filler(self, rng):
        """A sentence of some other page."""
        while True:
            chunk = rng.choice(self.chunks)
            index = rng.randrange(len(chunk.units))
            text = chunk.unit(index)
            is_plain = chunk.units[index].kind == "sentence" and facts.is_statement(text) and len(text) < 160 and "\n" not in text
            if is_plain and not re.search(r"\d|Reported job titles", text):
                return text

    def duties(self, rng, forms):
        chunk, fact = rng.choice(self.lists)
        items = [
            chunk.unit(index) for index, unit in enumerate(chunk.units) if unit.kind == "item" and len(chunk.unit(index)) < 140
        ]
        items = rng.sample(items, min(len(items), rng.randint(2, 6)))
        if len(items) < 2:
            return self.duties(rng, forms)
        kind = "duties" if fact.form == "led" else fact.kind
        heading = {
            "duties": ["Duties", "Tasks", "Duties and responsibilities"],
            "tools": ["Technology", "Tools"],
            "skills": ["Technical skills", "Skills"],
        }[kind]
        mark = rng.choice(["- ", "* "])
        count = min(len(items), facts.LIST_ITEMS)
        if fact.form == "led":
            lead = forms["Roles"] + rng.choice([" typically do the following:", " do the following:"])
            made = joined(rng.choice(heading), [lead, *items], f"\n{mark}", "item", f"\n\n{mark}")
            return made, [Fact("duties", list(range(count + 1)), form="led")]
        return joined(rng.choice(heading), items, f"\n{mark}", "item"), [Fact(kind, list(range(count)), form="list")]

    def glance(self, rng, forms):
        kinds = rng.sample(ROWS, rng.randint(1, 4)) + [ROWS[-1]] * rng.randint(0, 3)
        rng.shuffle(kinds)
        rows, found = [], []
        for kind, labels, values in kinds:
            label = rng.choice(labels)
            if any(row.startswith(f"{label} |") for row in rows) or any(fact.kind == kind != "row" for fact in found):
                continue
            subject = facts.lower_label(label) if kind == "row" else ""
            found.append(Fact(kind, [len(rows)], subject, "row"))
            rows.append(f"{label} | {fill(rng.choice(values), rng, forms, self.titles)}")
        return joined(rng.choice(WORDS["glance"]), rows, " |\n| ", "row"), found

    def what(self, rng, forms):
        """Says what the role does in words of some duty."""
        chunk, fact = rng.choice(self.lists)
        item = chunk.unit(rng.choice(fact.units[-2:])).rstrip(".;")
        verb = item[:1].lower() + item[1:]
        text = rng.choice(["{Roles} {verb}.", "{Roles} typically {verb}.", "The job of {a_role} is to {verb}."]).format(
            verb=verb, **forms
        )
        texts = [text, self.filler(rng)][: rng.choice([1, 2])]
        return joined(rng.choice(["", "Summary", "Overview", f"What {forms['Roles']} Do"]), texts, " ", "sentence"), [
            Fact("what", [0])
        ]

    def quality(self, rng, forms):
        skills = rng.sample(WORDS["skills"], rng.randint(1, 3))
        texts, found = [], []
        for skill in skills:
            found.append(Fact("quality", [len(texts) + 1], skill.lower()))
            texts += [f"***{skill}.***", self.filler(rng)]
        section = "Important Qualities"
        return joined(section, texts, " ", "sentence"), found


MAKERS = {"duties": Inventor.duties, "glance": Inventor.glance, "what": Inventor.what, "quality": Inventor.quality}


def joined(section, texts, between, kind, first_between=None):
    """A chunk of these units; the first may be a sentence that leads a list."""
    text, units = "", []
    for index, piece in enumerate(texts):
        if index:
            text += first_between if index == 1 and first_between else between
        units.append(Unit("sentence" if index == 0 and first_between else kind, len(text), len(text) + len(piece)))
        text += piece
    return Chunk(section, text, units)


def fill(template, rng: random.Random, forms, titles):
    year = rng.randint(2015, 2030)
    place, place2 = rng.sample(WORDS["places"], 2)
    degree, other = rng.choice(WORDS["degrees"]), names.lower(names.singular(rng.choice(titles)))
    return template.format(
        m=money(rng),
        m2=money(rng),
        h=f"${rng.randint(8, 99)}.{rng.randint(0, 99):02}",
        n=count(rng),
        s=rng.randint(2, 99),
        s2=rng.randint(2, 99),
        p=rng.choice([f"{rng.randint(1, 99)} percent", f"{rng.randint(1, 99)}%"]),
        y=year,
        y2=year + rng.choice([5, 8, 10]),
        pace=rng.choice(WORDS["paces"]),
        million=f"{rng.randint(1, 9)}.{rng.randint(1, 9)}",
        degree=degree,
        Degree=names.capital(degree.split(" ", 1)[1]),
        field=rng.choice(WORDS["fields"]),
        field2=rng.choice(WORDS["fields"]),
        span=rng.choice(WORDS["spans"]),
        places=place,
        places2=place2,
        Places=names.capital(place),
        a_other=names.article(other),
        others=names.plural(other),
        code=f"{rng.choice('ABCDEFGHJKLMNPRSTUVWX')}{rng.randint(10, 99)}-{rng.randint(100, 999)}",
        **forms,
    )


def money(rng):
    return (
        f"${rng.randint(18, 260)},{rng.randint(0, 99) * 10:03}"
        if rng.random() < 0.8
        else f"${rng.randint(18, 260)},{rng.randint(0, 999):03}"
    )


def count(rng):
    return f"{rng.randint(1, 999)},{rng.randint(0, 9)}00" if rng.random() < 0.7 else str(rng.randint(2, 999) * 10)
