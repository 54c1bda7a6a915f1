"""Makes the tasks: passages with a question and its answer, refusals, comparisons, judgements, greetings, copying of nonsense.

Usage: tasks.py --data FOLDER [--budget CHARACTERS] [--count N] [--held-out] [--json] prints some. With --json they are lines of
JSON, one question each, none about an invented role: what tests/demo.rs asks. A maker gives the same samples for the same seed.
"""

import argparse
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import corpus
import facts
import names
import prompt
from chunks import Chunk, Unit
from facts import PHRASINGS, Fact
from invented import SENTENCES, Inventor

# Kinds that may answer each other's question.
RELATED = [
    {"what", "duties"},
    {"pay", "range", "start", "bonus"},
    {"growth", "openings"},
    {"jobs", "employer", "environment", "self"},
    {"education", "become", "training", "licence", "experience", "probation"},
    {"environment", "employer", "travel"},
    {"team", "reports"},
    {"age", "retire"},
    {"skills", "tools", "quality"},
    {"schedule", "row"},
]
# Headings under which a real page may answer a kind without being known as a fact.
TOPICS = [
    ({"what", "duties", "tools", "skills"}, r"What .* Do|Duties|Tasks|Overview|Frequently|Technology|skills"),
    (
        {"education", "become", "training", "licence", "experience", "advancement", "quality"},
        r"How to Become|Education|Qualif|Summary|outlook|Frequently|skills",
    ),
    (
        {"pay", "range", "growth", "openings", "jobs", "schedule", "environment", "injuries"},
        r"Pay|Outlook|Employment|Environment|Schedules|Overview|Frequently",
    ),
]
GREETED = "Hello! Ask me about a role, and I answer from the documents."
MYSELF = (
    "I am Sconce's demo model: a small model that answers questions about roles from numbered passages, "
    "and says where each sentence stands."
)
NO_PASSAGES = "I answer from numbered passages only, and there are none here."
JUDGED = {"relevant": prompt.RELEVANT, "answerable": prompt.ANSWERABLE}
COMPARE, TALK = PHRASINGS["compare"], PHRASINGS["talk"]


@dataclass
class Sample:
    """A user message (passages, then what is asked) and its answer; `gold` are the numbers cited, `task` is what kind of task it
    is. `more` are others over the same passages: each is read as if it stood alone behind them, which makes several answers of one
    reading, and shows that the question decides."""

    context: str
    asked: str
    answer: str
    task: str
    kind: str = ""
    gold: tuple = ()
    source: str = ""
    more: list = field(default_factory=list)

    @property
    def user(self):
        return self.context + self.asked


@dataclass
class Place:
    """A passage to be shown: a chunk of a page at its place there, the fact that is asked for, and all that are known."""

    page: object
    at: int
    chunk: Chunk
    fact: Fact = None
    known: list = field(default_factory=list)


class Maker:
    """Makes samples over these pages, with at most so many questions each; roles are invented from the titles of the O*NET pages
    among them. `samples` is the share of questions about real pages that are about the sample corpus."""

    def __init__(self, pages, seed, questions=1, samples=0.0):
        self.rng = random.Random(seed)
        self.questions, self.share_of_samples = questions, samples
        self.pages = [page for page in pages if page.chunks]
        self.titles = [page.title for page in self.pages]
        self.known = {id(page): [facts.facts_of(chunk) for chunk in page.chunks] for page in self.pages}
        self.samples = [page for page in self.pages if page.source == "sample" and any(self.known[id(page)])]
        titles = [title for page in pages if page.source == "onet" for title in [page.title, *page.aliases] if len(title) < 40]
        self.inventor = Inventor(
            [title for title in titles if "," not in title], [chunk for page in self.pages for chunk in page.chunks]
        )
        self.by_kind = {}
        for page in self.pages:
            for at, found in enumerate(self.known[id(page)]):
                for fact in found:
                    self.by_kind.setdefault(fact.kind, []).append((page, at, fact))
        # Real kinds are drawn evenly, but for those that every page has many of.
        self.kinds = (
            [kind for kind in self.by_kind if kind != "row"]
            + ["about"] * 4
            + ["row", "pay", "growth", "duties", "what", "education"]
        )
        self.words = sorted(
            {word for page in self.pages[::3] for chunk in page.chunks for word in re.findall(r"[A-Za-z]{3,12}", chunk.text)}
        )

    def samples(self, budget, nonsense=0.0, invented=0.6):
        """Without end; `budget` bounds the characters of the passages."""
        while True:
            yield self.sample(budget, nonsense, invented)

    def sample(self, budget, nonsense=0.0, invented=0.6):
        rng, draw = self.rng, self.rng.random()
        if draw < nonsense:
            return self.nonsense(budget)
        while True:
            draw = rng.random()
            if draw < 0.02:
                return self.talk()
            if draw < 0.06:
                made = self.compared(budget, invented)
            else:
                made = self.asked(budget, invented, "refuse" if draw < 0.25 else "judge" if draw < 0.38 else "answer")
            if made:
                return made

    def talk(self):
        draw = self.rng.random()
        if draw < 0.4:
            return Sample("", self.rng.choice(TALK["greetings"]), GREETED, "talk")
        if draw < 0.7:
            return Sample("", self.rng.choice(TALK["who"]), MYSELF, "talk")
        kind = self.rng.choice([entry[0] for entry in SENTENCES])
        forms = names.forms(self.rng.choice(self.inventor.titles), self.rng)
        return Sample("", facts.question(Fact(kind, []), forms, self.rng), NO_PASSAGES, "talk")

    def gold(self, invented):
        """A place that answers a question, with the facts of its page's other chunks."""
        rng = self.rng
        if rng.random() < invented:
            kind = rng.choice(["duties", "glance", "what", "quality"]) if rng.random() < 0.4 else rng.choice(SENTENCES)[0]
            page, known = self.inventor.page(rng, [kind], rng.randint(1, 4))
            fact = rng.choice(known[0])
            if rng.random() < 0.1:
                fact = facts.about(page.chunks[0], rng) or fact
            return Place(page, 0, page.chunks[0], self.asked_broadly(fact), known[0]), known
        kind = rng.choice(self.kinds)
        if self.samples and rng.random() < self.share_of_samples:
            page = rng.choice(self.samples)
            places = [(at, fact) for at, found in enumerate(self.known[id(page)]) for fact in found]
            at, fact = rng.choice(places)
        elif kind == "about":
            page = rng.choice(self.pages)
            at = rng.randrange(len(page.chunks))
            fact = facts.about(page.chunks[at], rng)
        else:
            page, at, fact = rng.choice(self.by_kind[kind])
        known = self.known[id(page)]
        return fact and Place(page, at, page.chunks[at], self.asked_broadly(fact), known[at]), known

    def asked_broadly(self, fact):
        """Duties are asked for by "What does … do?", too."""
        if fact.kind == "duties" and self.rng.random() < 0.35:
            return Fact("what", fact.units, fact.subject, fact.form)
        return fact

    def asked(self, budget, invented, task):
        """An answer, a refusal (the passage that tells is left out), or a judgement."""
        rng = self.rng
        gold, known = self.gold(invented)
        if not gold:
            return None
        forms = names.forms(self.name_of(gold.page), rng)
        asked = facts.question(gold.fact, forms, rng)
        relevance = task == "judge" and rng.random() < 0.5
        is_told = task == "answer" or (task == "judge" and rng.random() < 0.5)
        if not is_told and rng.random() < 0.08:
            asked = rng.choice(TALK["elsewhere"]).format(**forms)
        kept = trim(gold, max(160, int(budget * rng.uniform(0.35, 0.9))), rng)
        if kept is None:
            return None
        room = budget - (size(kept) if is_told else 0)
        most = 1 if relevance else 5 if budget < LONG else 8
        shown = self.distractors(gold, known, room, most, is_told)
        if relevance:
            shown = [kept] if is_told else shown[:1]
        elif is_told:
            shown.append(kept)
        if not shown:
            return None
        shown = in_order(shown, rng)
        if task == "judge":
            task = "relevant" if relevance else "answerable"
        made = written(shown, kept if is_told else None, kept, asked, task)
        made.more = self.more(shown, {id(gold.page): known}, invented)
        return made

    def more(self, shown, known, invented):
        """Further questions over these passages; `known` are the facts of pages that were invented, by page."""
        count = self.rng.randint(1, self.questions) - 1
        found = [self.another(shown, known, invented) for _ in range(2 * count)]
        return [sample for sample in found if sample][:count]

    def another(self, shown, known, invented):
        """A question that one of these passages answers, or that none does although one comes near."""
        rng = self.rng
        near = rng.choice(shown)
        is_told = rng.random() < 0.55
        if is_told:
            fact = rng.choice(near.known) if near.known and rng.random() < 0.8 else facts.about(near.chunk, rng)
            gold = fact and Place(near.page, near.at, near.chunk, fact)
        elif rng.random() < 0.5:
            chunks = known.get(id(near.page)) or self.known.get(id(near.page)) or []
            gold = self.untold(near, chunks)
        else:
            gold = self.elsewhere(near, invented)
        rivals = [place for place in shown if not (is_told and place is near)]
        if not gold or any(self.answers(gold, place.page, place.at, place.known, is_told) for place in rivals):
            return None
        asked = facts.question(gold.fact, names.forms(gold.page.title, rng), rng)
        task = "answer" if is_told else "refuse"
        if rng.random() < (0.5 if len(shown) == 1 else 0.15):
            task = rng.choice(["relevant", "answerable"]) if len(shown) == 1 else "answerable"
        return written(shown, near if is_told else None, gold, asked, task)

    def untold(self, near, chunks):
        """A fact of the same page that stands in another of its chunks."""
        facts_there = [(at, fact) for at, found in enumerate(chunks) for fact in found if at != near.at]
        if not facts_there:
            kind = self.rng.choice([entry[0] for entry in SENTENCES])
            return Place(near.page, -1, None, Fact(kind, []))
        at, fact = self.rng.choice(facts_there)
        return Place(near.page, at, near.page.chunks[at], fact)

    def elsewhere(self, near, invented):
        """The same fact of another role."""
        named = [fact for fact in near.known if fact.kind in facts.QUESTIONS and fact.kind not in ("about", "heading")]
        if not named:
            return None
        title = self.rng.choice(self.inventor.titles if self.rng.random() < invented else self.titles)
        return Place(corpus.Page("invented", title, [], [], []), -1, None, self.rng.choice(named))

    def name_of(self, page):
        return self.rng.choice(page.aliases) if page.aliases and self.rng.random() < 0.03 else page.title

    def distractors(self, gold, known, room, most, is_told):
        """Passages that do not answer: other chunks of the page, other roles on the same topic, anything else."""
        rng, found, used = self.rng, [], {(id(gold.page), gold.at)}
        kind = gold.fact.kind
        others = None
        is_long = most > 5 and room > LONG
        least = 0 if is_told and not is_long else 1
        wanted = rng.randint(least, most - 1 if is_told else most)
        for _ in range(3 * wanted):
            if len(found) == wanted:
                break
            draw = rng.random()
            if draw < 0.4 and len(gold.page.chunks) > 1:
                page, at, their = gold.page, rng.randrange(len(gold.page.chunks)), known
            elif draw < 0.8 and rng.random() < (0.2 if is_long or gold.page.source != "invented" else 0.9):
                others = others or self.inventor.page(rng, [kind if kind in KINDS else "glance"], 2)
                page, their = others
                at = rng.randrange(len(page.chunks))
            elif draw < 0.8:
                page, at, _ = rng.choice(self.by_kind.get(kind) or self.by_kind["pay"])
                their = self.known[id(page)]
            else:
                page = rng.choice(self.pages)
                at, their = rng.randrange(len(page.chunks)), self.known[id(page)]
            if is_long and len(page.chunks[at].text) < 300 and rng.random() < 0.6:
                continue
            if (id(page), at) in used or self.answers(gold, page, at, their[at], is_told):
                continue
            wide = 1800 if is_long else int(rng.uniform(120, 1100))
            place = trim(Place(page, at, page.chunks[at], None, their[at]), min(room, wide), rng)
            if place and size(place) <= room:
                found.append(place)
                used.add((id(page), at))
                room -= size(place)
        return found

    def answers(self, gold, page, at, found, is_told):
        """Whether a chunk might answer the question that `gold` answers. Of several of a page the first is cited; what only comes
        near does not compete with it."""
        kind, subject, chunk = gold.fact.kind, gold.fact.subject.lower(), page.chunks[at]
        if kind == "about":
            return facts.speaks_of(f"{page.title} {chunk.section} {chunk.text}", subject)
        mine, theirs = (names.singular(title).lower() for title in (gold.page.title, page.title))
        if kind != "heading" and page is not gold.page:
            return mine == theirs or mine in theirs or theirs in mine
        if any(fact.same(gold.fact) for fact in found):
            return not is_told or page is not gold.page or at < gold.at
        if kind in ("quality", "row") and subject in chunk.text.lower():
            return True
        if is_told:
            return False
        related = set().union({kind}, *(group for group in RELATED if kind in group)) - {"row", "quality"}
        if any(fact.kind in related for fact in found):
            return True
        is_topic = any(kind in kinds and re.search(pattern, chunk.section) for kinds, pattern in TOPICS)
        return kind == "heading" or (is_topic and page.source != "invented")

    def compared(self, budget, invented):
        """One sentence of each of two roles; in a third of the cases one of them is missing, and only the other is told."""
        rng = self.rng
        kind = rng.choice(list(COMPARE["words"]))
        places = []
        for _ in range(2):
            if rng.random() < invented or kind not in self.by_kind:
                page, known = self.inventor.page(rng, [kind], 1)
                places.append(Place(page, 0, page.chunks[0], next(fact for fact in known[0] if fact.kind == kind)))
            else:
                page, at, fact = rng.choice(self.by_kind[kind])
                places.append(Place(page, at, page.chunks[at], fact))
        first, second = places
        if names.singular(first.page.title) == names.singular(second.page.title):
            return None
        kept = [trim(place, budget // 2, rng) for place in places]
        if None in kept:
            return None
        one, two = names.forms(first.page.title, rng), names.forms(second.page.title, rng)
        asked = rng.choice(COMPARE["questions"]).format(word=COMPARE["words"][kind], roles2=two["roles"], **one)
        shown = in_order(list(kept), rng)
        numbers = [shown.index(place) + 1 for place in kept]
        text = " ".join(facts.answer(place.fact, place.chunk, number) for place, number in zip(kept, numbers))
        made = Sample(context(shown), prompt.question(asked), text, "compare", kind, tuple(numbers), first.page.source)
        made.more = self.more(shown, {}, invented)
        return made

    def nonsense(self, budget):
        """Sentences of random words, asked by one of them or as a whole: nothing but copying."""
        rng = self.rng
        passages, lines = [], []
        for number in range(1, rng.randint(1, 4) + 1):
            said = []
            for _ in range(rng.randint(1, 3)):
                words = [rng.choice(self.words) for _ in range(rng.randint(4, 9))]
                if rng.random() < 0.4:
                    words.insert(
                        rng.randint(1, len(words)),
                        rng.choice([f"${rng.randint(10, 300)},{rng.randint(100, 999)}", str(rng.randint(2, 9999))]),
                    )
                text = names.capital(" ".join(words)) + "."
                said.append(text)
                lines.append((number, text, words))
            passages.append(
                (names.capital(" ".join(rng.sample(self.words, 2))), rng.choice(["", "Pay", "Duties", "Summary"]), " ".join(said))
            )
            if sum(len(text) for _, text, _ in lines) > budget * 0.7:
                break
        made, *more = [self.nonsense_question(prompt.context(passages), lines) for _ in range(rng.randint(1, self.questions))]
        made.more = more
        return made

    def nonsense_question(self, context, lines):
        rng = self.rng
        number, text, words = rng.choice(lines)
        if rng.random() < 0.3:
            said = " ".join(facts.cited(line, number) for other, line, _ in lines if other == number)
            return Sample(context, prompt.question(f"What does passage {number} say?"), said, "nonsense", "whole", (number,))
        at = rng.randrange(len(words) - 1)
        subject = " ".join(words[at : at + rng.choice([1, 2])])
        asked = rng.choice(facts.QUESTIONS["about"][:4]).format(subject=subject)
        return Sample(context, prompt.question(asked), facts.cited(text, number), "nonsense", "about", (number,))


# Budgets from here on are filled with whole passages, up to as many as the server sends.
LONG = 1500
KINDS = {entry[0] for entry in SENTENCES} | {"duties", "glance", "what", "quality"}


def written(shown, told, gold, asked, task):
    """The sample of a question for the fact of `gold`, which is told by this one of the passages, if any."""
    asked, numbers = prompt.question(asked), ()
    if task in JUDGED:
        asked += JUDGED[task]
        answer = "yes" if told else "no"
    elif told:
        numbers = tuple(index for index, place in enumerate(shown, 1) if place is told)
        answer = facts.answer(gold.fact, told.chunk, numbers[0])
    else:
        answer = prompt.REFUSAL
    return Sample(context(shown), asked, answer, task, gold.fact.kind, numbers, gold.page.source)


def context(shown):
    return prompt.context([(place.page.title, place.chunk.section, place.chunk.text) for place in shown])


def size(place):
    return len(place.page.title) + len(place.chunk.section) + len(place.chunk.text) + 12


def trim(place: Place, most, rng):
    """The place with a stretch of its chunk's units that has its fact's, of at most so many characters; None where none has."""
    units = place.chunk.units
    first, last = (min(place.fact.units), max(place.fact.units)) if place.fact else (rng.randrange(len(units)),) * 2
    if units[last].end - units[first].start > most:
        return None
    whole = len(place.chunk.text) <= most
    if whole:
        first, last = 0, len(units) - 1
    while not whole:
        left, right = first > 0, last + 1 < len(units)
        go_left = left and (not right or rng.random() < 0.5)
        if not left and not right:
            break
        a, b = (first - 1, last) if go_left else (first, last + 1)
        if units[b].end - units[a].start > most:
            break
        first, last = a, b
    start, end = units[first].start, units[last].end
    moved = [Unit(unit.kind, unit.start - start, unit.end - start) for unit in units[first : last + 1]]

    def shifted(fact):
        return Fact(fact.kind, [index - first for index in fact.units], fact.subject, fact.form)

    kept = [shifted(fact) for fact in place.known if first <= min(fact.units) and max(fact.units) <= last]
    chunk = Chunk(place.chunk.section, place.chunk.text[start:end], moved)
    return Place(place.page, place.at, chunk, place.fact and shifted(place.fact), kept)


def in_order(places, rng):
    """As the server orders passages: by document, then by place in it."""
    documents = list({id(place.page): place.page for place in places}.values())
    rng.shuffle(documents)
    order = {id(page): index for index, page in enumerate(documents)}
    return sorted(places, key=lambda place: (order[id(place.page)], place.at))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--budget", type=int, default=900)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pages = [page for page in corpus.load(options.data) if page.held_out == options.held_out]
    if options.json:
        maker = Maker(pages, seed=7)
        for _ in range(options.count):
            sample = maker.sample(options.budget, invented=0.0)
            fields = {"user": sample.user, "task": sample.task, "gold": sample.gold, "answer": sample.answer}
            print(json.dumps(fields, ensure_ascii=False))
        return
    maker = Maker(pages, seed=7, questions=4)
    for _ in range(options.count):
        sample = maker.sample(options.budget, nonsense=0.1)
        print(f"--- {sample.source}\n{sample.context}", end="")
        for asked in [sample, *sample.more]:
            print(f"{asked.asked}\n=> {asked.task} {asked.kind}: {prompt.planned(asked.answer)}\n")


if __name__ == "__main__":
    main()
