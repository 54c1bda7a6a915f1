"""Invented roles: real titles with random figures and borrowed duties, so that the model has to read instead of remembering."""

import random
import re

import facts
import names
from chunks import Chunk, Unit
from corpus import Page
from facts import Fact

facts.QUESTIONS.update(
    {
        "travel": ["How much do {roles} travel?", "Do {roles} travel?", "How often does {a_role} travel?"],
        "vacation": ["How many days off do {roles} get?", "How much vacation does {a_role} have?"],
        "bonus": ["What bonus do {roles} get?", "How large is the bonus of {a_role}?", "Do {roles} get a bonus?"],
        "team": ["How large is the team of {a_role}?", "How many people are on a team of {roles}?"],
        "reports": ["Whom does {a_role} report to?", "Who leads {roles}?", "Who is the boss of {a_role}?"],
        "probation": ["How long is the probation of {a_role}?", "Is there a probation for {roles}?"],
        "start": ["What do {roles} earn at first?", "What is the starting pay of {a_role}?", "How much does {a_role} earn to begin with?"],
        "union": ["How many {roles} are in a union?", "Do {roles} belong to a union?"],
        "self": ["How many {roles} are self-employed?", "Are {roles} self-employed?"],
        "age": ["How old are {roles}?", "What is the average age of {a_role}?"],
        "employer": ["Who employs {roles}?", "Which industries employ {roles}?", "Where are most {roles} employed?"],
        "retire": ["When do {roles} retire?", "At what age does {a_role} retire?"],
    }
)
YEARS = [str(year) for year in range(2015, 2032)]
DEGREES = ["a high school diploma", "an associate’s degree", "a bachelor's degree", "a master's degree", "a doctoral degree", "no formal education",
           "a certificate", "a postsecondary nondegree award", "a law degree", "a bachelor’s degree in engineering", "a diploma in design"]
FIELDS = "nursing accounting biology statistics design business chemistry education physics economics music welding logistics forestry law".split()
PLACES = ["hospitals", "offices", "factories", "schools", "mines", "ships", "laboratories", "warehouses", "farms", "airports", "theaters", "private homes",
          "construction sites", "courts", "retail stores", "government agencies", "studios", "kitchens", "banks", "power plants", "hotels", "libraries"]
SPANS = ["weeks", "months", "years", "days"]
SKILLS = ["Patience", "Communication skills", "Physical strength", "Dexterity", "Math skills", "Creativity", "Detail oriented", "Leadership skills",
          "Listening skills", "Writing skills", "Stamina", "Compassion", "Computer skills", "Time-management skills", "Negotiation", "Good eyesight"]
PACES = ["much faster than", "faster than", "about as fast as", "slower than"]

# Kind, headings, sentences. `{m}` money, `{n}` a count, `{s}` a small number, `{p}` a percentage, `{y}` a year, and others below.
SENTENCES = [
    ("pay", ["Pay", "Summary › Pay", "Salary", "Compensation"],
     ["The median annual wage for {roles} was {m} in May {y}.", "{Roles} earned a median of {m} per year in {y}.", "The typical salary of {a_role} is {m} a year.",
      "The median hourly wage for {roles} was {h} in May {y}.", "On average, {a_role} makes {m} a year.", "{A_role} is paid {m} per year."]),
    ("range", ["Pay", "Earnings", "Compensation"],
     ["The lowest 10 percent earned less than {m}, and the highest 10 percent earned more than {m2}.", "The best-paid tenth made more than {m}, the lowest-paid tenth less than {m2}.",
      "The lowest 10 percent of {roles} earned less than {m}, and the highest 10 percent earned more than {m2}."]),
    ("start", ["Pay", "Salary", "Compensation"], ["{A_role} starts at {m} a year.", "{Roles} begin at {h} an hour.", "The starting pay is {h} per hour."]),
    ("growth", ["Job Outlook", "Summary › Job Outlook", "Career outlook"],
     ["Employment of {roles} is projected to grow {s} percent from {y} to {y2}, {pace} the average for all occupations.",
      "Employment of {roles} is projected to decline {s} percent from {y} to {y2}.", "The number of jobs for {roles} will grow by {p} until {y}.",
      "Employment of {roles} is projected to show little or no change from {y} to {y2}."]),
    ("openings", ["Job Outlook", "Summary › Job Outlook", "Openings"],
     ["About {n} openings for {roles} are projected each year, on average, over the decade.", "Each year about {n} openings for {roles} are expected.",
      "Despite declining employment, about {n} openings for {roles} are projected each year, on average, over the decade."]),
    ("jobs", ["Work Environment", "Employment"],
     ["{Roles} held about {n} jobs in {y}.", "There were {n} {roles} in {y}.", "About {n} people work as {roles}.", "{Roles} held about {million} million jobs in {y}."]),
    ("education", ["How to Become One › Education", "Education", "Qualifications › Education"],
     ["{Roles} typically need {degree} to enter the occupation.", "{A_role} needs {degree} in {field}.", "Most {roles} have {degree}, often in {field}.",
      "Employers ask for {degree} in {field} or {field2}."]),
    ("training", ["Training", "How to Become One › Training"],
     ["{Roles} are trained on the job for {s} {span}.", "The training of {a_role} takes {s} {span}.", "New {roles} receive {s} {span} of training in {field}."]),
    ("experience", ["Experience", "Qualifications › Experience"],
     ["{Roles} need {s} years of experience in {field}.", "At least {s} {span} of work in {places} are expected.", "Employers prefer {roles} with {s} years of related work."]),
    ("licence", ["Licenses, Certifications, and Registrations", "Certifications"],
     ["{Roles} must pass an exam in {field} and renew their license every {s} {span}.", "States require {roles} to be licensed after {n} hours of practice.",
      "{A_role} may be certified in {field} after {s} {span}."]),
    ("environment", ["Work Environment", "Summary › Work Environment"],
     ["{Roles} work in {places} and {places2}.", "Most {roles} work in {places}.", "{A_role} spends {p} of the time in {places}."]),
    ("schedule", ["Work Schedules", "Work Environment › Work Schedules"],
     ["Most {roles} work full time, {s} hours per week.", "{Roles} work shifts of {s} hours.", "{A_role} works {s} hours a week, some of them at night."]),
    ("advancement", ["Advancement", "Career path"], ["After {s} {span}, {a_role} may become {a_other}.", "Experienced {roles} may advance to become {others}."]),
    ("injuries", ["Injuries and Illnesses"], ["{A_role} has a rate of injuries of {s} per {n} workers.", "{Roles} have one of the highest rates of injuries, mostly in {places}."]),
    ("travel", ["Travel", "Work Environment"], ["{Roles} travel {s} days a month to {places}.", "{A_role} travels about {p} of the time."]),
    ("vacation", ["Benefits", "Benefits › Leave"], ["{Roles} get {s} days of paid vacation a year.", "{A_role} has {s} {span} off after {s2} years."]),
    ("bonus", ["Pay › Bonus", "Benefits"], ["{Roles} get a bonus of {m} after {s} {span}.", "{A_role} receives a yearly bonus of {p} of the salary."]),
    ("team", ["Team", "Organization"], ["{A_role} works in a team of {s} people.", "{Roles} work in teams of {s} to {s2}."]),
    ("reports", ["Team", "Organization"], ["{A_role} reports to {a_other}.", "{Roles} are led by {a_other} in {places}."]),
    ("probation", ["Conditions", "Benefits"], ["The probation lasts {s} {span}.", "{A_role} is on probation for {s} {span}."]),
    ("union", ["Work Environment", "Union membership"], ["About {p} of {roles} belong to a union.", "{n} {roles} were union members in {y}."]),
    ("self", ["Work Environment", "Employment"], ["About {p} of {roles} were self-employed in {y}.", "{n} {roles} are self-employed."]),
    ("age", ["Workforce", "Employment"], ["The average {role} is {s} years old.", "Half of all {roles} are older than {s}."]),
    ("retire", ["Workforce", "Benefits"], ["{Roles} retire at {s}, on average.", "{A_role} may retire after {s} years of service."]),
    ("employer", ["Employment", "Work Environment"], ["The largest employers of {roles} were {places} and {places2}.", "About {p} of {roles} are employed in {places}."]),
]
ROWS = [("pay", ["Median pay", "2024 Median Pay", "Salary", "Annual pay"], ["{m} per year", "{m} per year  {h} per hour", "{m}"]),
        ("education", ["Typical entry-level education", "Typical Entry-Level Education", "Education", "Typical education"], ["{Degree}"]),
        ("experience", ["Work Experience in a Related Occupation", "Typical experience", "Experience"], ["{s} years", "None", "{s} {span} in {field}"]),
        ("training", ["On-the-job Training", "Training"], ["{s} {span}", "None", "Long-term on-the-job training"]),
        ("jobs", ["Number of Jobs, 2024", "Number of jobs"], ["{n}"]),
        ("growth", ["Job Outlook, 2024–34", "Growth", "Growth outlook"], ["{s}% (Faster than average)", "-{s}% (Decline)", "{s}%"]),
        ("row", ["Employment change", "Location", "Contract", "Hours", "Team size", "Vacation", "Bonus", "Start", "Reference number", "Travel", "Grade", "Works with", "Key certifications"],
         ["{n}", "{s} {span}", "{m}", "{Places}", "{code}", "{others}", "{p}"])]
GLANCE = ["Summary", "At a glance", "Quick facts", "Role at a glance"]


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
        items = [chunk.unit(index) for index, unit in enumerate(chunk.units) if unit.kind == "item" and len(chunk.unit(index)) < 140]
        items = rng.sample(items, min(len(items), rng.randint(2, 6)))
        if len(items) < 2:
            return self.duties(rng, forms)
        kind = "duties" if fact.form == "led" else fact.kind
        heading = {"duties": ["Duties", "Tasks", "Duties and responsibilities"], "tools": ["Technology", "Tools"], "skills": ["Technical skills", "Skills"]}[kind]
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
        return joined(rng.choice(GLANCE), rows, " |\n| ", "row"), found

    def what(self, rng, forms):
        """Says what the role does in words of some duty."""
        chunk, fact = rng.choice(self.lists)
        item = chunk.unit(rng.choice(fact.units[-2:])).rstrip(".;")
        verb = item[:1].lower() + item[1:]
        text = rng.choice(["{Roles} {verb}.", "{Roles} typically {verb}.", "The job of {a_role} is to {verb}."]).format(verb=verb, **forms)
        texts = [text, self.filler(rng)][: rng.choice([1, 2])]
        return joined(rng.choice(["", "Summary", "Overview", f"What {forms['Roles']} Do"]), texts, " ", "sentence"), [Fact("what", [0])]

    def quality(self, rng, forms):
        skills = rng.sample(SKILLS, rng.randint(1, 3))
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
    place, place2 = rng.sample(PLACES, 2)
    degree, other = rng.choice(DEGREES), names.lower(names.singular(rng.choice(titles)))
    return template.format(
        m=money(rng), m2=money(rng), h=f"${rng.randint(8, 99)}.{rng.randint(0, 99):02}", n=count(rng), s=rng.randint(2, 99), s2=rng.randint(2, 99),
        p=rng.choice([f"{rng.randint(1, 99)} percent", f"{rng.randint(1, 99)}%"]), y=year, y2=year + rng.choice([5, 8, 10]), pace=rng.choice(PACES),
        million=f"{rng.randint(1, 9)}.{rng.randint(1, 9)}", degree=degree, Degree=names.capital(degree.split(" ", 1)[1]), field=rng.choice(FIELDS),
        field2=rng.choice(FIELDS), span=rng.choice(SPANS), places=place, places2=place2, Places=names.capital(place), a_other=names.article(other),
        others=names.plural(other), code=f"{rng.choice('ABCDEFGHJKLMNPRSTUVWX')}{rng.randint(10, 99)}-{rng.randint(100, 999)}", **forms,
    )


def money(rng):
    return f"${rng.randint(18, 260)},{rng.randint(0, 99) * 10:03}" if rng.random() < 0.8 else f"${rng.randint(18, 260)},{rng.randint(0, 999):03}"


def count(rng):
    return f"{rng.randint(1, 999)},{rng.randint(0, 9)}00" if rng.random() < 0.7 else str(rng.randint(2, 999) * 10)
