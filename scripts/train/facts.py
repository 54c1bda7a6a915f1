"""What a passage tells, and how it is asked and answered. A fact is a question's kind and the units that answer it.

Kinds with a name are recognized on real pages by their words or headings, and written into invented ones. Two kinds fit every
page: a row of a table ("row", asked by its label) and a sentence asked by some of its own words ("about").
"""

import random
import re
from dataclasses import dataclass

from chunks import Chunk

LIST_ITEMS = 4

QUESTIONS = {
    "pay": ["How much do {roles} earn?", "What is the pay of {a_role}?", "What do {roles} earn?", "How much does {a_role} make?",
            "What is the median wage for {roles}?", "What is the median annual wage of {a_role}?", "Salary of {a_role}?",
            "How much are {roles} paid?", "What is the salary of {a_role}?", "{Roles}: pay?", "How well do {roles} get paid?"],
    "range": ["How much do the lowest-paid {roles} earn?", "What do the best-paid {roles} earn?", "How much do the top 10 percent of {roles} make?",
              "What is the pay range of {roles}?", "What do the highest-paid and lowest-paid {roles} make?"],
    "growth": ["What is the job outlook for {roles}?", "How fast will employment of {roles} grow?", "Is employment of {roles} growing?",
               "What is the projected growth for {roles}?", "Will there be more jobs for {roles}?", "How is the outlook for {roles}?"],
    "openings": ["How many openings for {roles} are there each year?", "How many job openings are projected for {roles}?",
                 "How many {roles} are hired each year?", "How many openings are expected for {a_role}?"],
    "jobs": ["How many {roles} are there?", "How many jobs do {roles} hold?", "How many people work as {roles}?"],
    "what": ["What does {a_role} do?", "What do {roles} do?", "What is {a_role}?", "What is the work of {roles}?", "Describe the role of {a_role}.",
             "Tell me what {roles} do.", "What is the job of {a_role}?"],
    "duties": ["What are the duties of {a_role}?", "What duties do {roles} have?", "List the duties of {roles}.", "What are {roles} responsible for?",
               "What are the main tasks of {a_role}?", "What tasks does {a_role} have?", "Which responsibilities does {a_role} have?"],
    "tools": ["Which tools do {roles} use?", "What software does {a_role} work with?", "What technology do {roles} use?", "Which technologies should {a_role} know?"],
    "skills": ["What skills does {a_role} need?", "Which skills do {roles} need?", "What should {a_role} be good at?", "List the skills of {a_role}."],
    "environment": ["Where do {roles} work?", "What is the work environment of {roles}?", "In what places does {a_role} work?"],
    "schedule": ["What hours do {roles} work?", "What is the work schedule of {a_role}?", "Do {roles} work full time?", "When do {roles} work?"],
    "become": ["How do I become {a_role}?", "How does one become {a_role}?", "What do {roles} need to enter the occupation?"],
    "education": ["What education do {roles} need?", "Which degree does {a_role} need?", "Do {roles} need a degree?", "What should {a_role} study?",
                  "What education is required for {roles}?"],
    "training": ["What training do {roles} get?", "How are {roles} trained?", "How long is the training of {a_role}?"],
    "licence": ["Do {roles} need a license?", "Which certifications do {roles} need?", "Must {a_role} be certified?", "What license does {a_role} need?"],
    "experience": ["How much experience does {a_role} need?", "What experience do {roles} need?", "Do {roles} need experience?"],
    "advancement": ["How can {roles} advance?", "What can {a_role} become later?", "What is the career path of {a_role}?"],
    "injuries": ["Is the work of {roles} dangerous?", "How often are {roles} injured?", "What injuries do {roles} get?"],
    "titles": ["What are other job titles of {roles}?", "Which job titles do {roles} have?", "What are {roles} also called?"],
    "quality": ["Why do {roles} need {subject}?", "Why is {subject} important for {roles}?", "What about the {subject} of {roles}?", "Do {roles} need {subject}?"],
    "row": ["What is the {subject} of {roles}?", "What is the {subject} for {a_role}?", "{subject} of {roles}?", "{Roles}: {subject}?"],
    "about": ["What is said about {subject}?", "What do the documents say about {subject}?", "Tell me about {subject}.", "What about {subject}?",
              "What about {subject} for {roles}?", "Is there anything about {subject} of {roles}?"],
    "heading": ["{subject}"],
}
# Sentences that answer a kind wherever they stand; under these headings, the first sentences; rows by their label; lists.
SENTENCES = {
    "pay": r"^(The )?median (annual|hourly) wage (for|of) .* was \$|^The median annual wage for",
    "range": r"^The lowest 10 percent earned less than",
    "growth": r"^(Overall e|E)mployment of .* is projected to .* from 20\d\d to",
    "openings": r"^(Despite .*, a|A)bout .* openings for .* are projected each year",
    "jobs": r"^.{3,90} held about .* jobs in 20\d\d\.$",
}
HEADINGS = [
    ("what", r"^What .* Do$", 1), ("environment", r"^Work Environment$", 1), ("schedule", r"^Work Schedules$", 1),
    ("become", r"^How to Become", 2), ("education", r"^Education( and Training)?$", 1), ("training", r"^Training$", 1),
    ("licence", r"^Licenses, Certifications", 1), ("licence", r"^Certifications$", 1), ("experience", r"^(Work|Other)? ?Experience", 1),
    ("advancement", r"^Advancement$", 1), ("injuries", r"^Injuries and Illnesses$", 1), ("titles", r"^Job titles$", 1),
]
ROW_KINDS = {"Typical Entry-Level Education": "education", "2024 Median Pay": "pay", "On-the-job Training": "training",
             "Work Experience in a Related Occupation": "experience", "Number of Jobs, 2024": "jobs", "Job Outlook, 2024–34": "growth"}
LISTS = [("duties", r"^(Duties|Tasks)"), ("tools", r"^Technology$"), ("skills", r"^(Technical skills|Soft skills|Skills)")]
STOP = set(
    "a about above after again all also am an and any are as at be because been before being below between both but by can cannot could did do does "
    "during each few for from further get had has have having he her here him his how i if in into is it its itself just may more most must my "
    "need no nor not of off often on once one only or other our out over own same she should so some such than that the their them then there "
    "these they this those through to too typically under until up us usually very was we were what when where which while who whom whose why "
    "will with within would you your many much include includes including use used using work works well help ensure".split()
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
        return [Fact("duties", [first - 1, *items[: LIST_ITEMS]], form="led")]
    for kind, pattern in LISTS:
        if re.search(pattern, heading):
            return [Fact(kind, items[:LIST_ITEMS], form="list")]
    return []


def is_statement(text):
    return text.endswith((".", "!")) and 25 <= len(text) <= 330 and not text.startswith(("Note:", "Source:", "For more", "***"))


def lower_label(label):
    return " ".join(word if sum(c.isupper() for c in word) > 1 else word.lower() for word in label.split())


def about(chunk: Chunk, rng: random.Random):
    """A sentence or item of the chunk, asked by one to three neighbouring words that no other unit has; None without one."""
    for _ in range(4):
        index = rng.randrange(len(chunk.units))
        text = chunk.unit(index)
        if chunk.units[index].kind not in ("sentence", "item") or not 25 <= len(text) <= 330 or text.endswith((":", "?")):
            continue
        words = re.findall(r"[A-Za-z][\w'’-]*", text)
        spans = [words[a : a + n] for n in (1, 2, 2, 3) for a in range(1, len(words) - n)]
        spans = [span for span in spans if not {span[0].lower(), span[-1].lower()} & STOP and len(" ".join(span)) > 5]
        rng.shuffle(spans)
        for span in spans[:5]:
            subject = " ".join(span)
            if subject in text and chunk.text.lower().count(subject.lower()) == 1:
                return Fact("about", [index], subject)
    return None
