#!/usr/bin/env python3
"""Makes questions about roles from the quick-facts tables of a folder of Occupational Outlook Handbook pages (Markdown).

    scripts/quick_facts.py FOLDER [--count 60] [--seed 2] > tests/data/quick_facts_questions.jsonl

The first line names the source. Every other line is one question:
{"question", "page": file name, "fact": kind, "expected": strings, any of which must stand in a cited quote}.
The same folder, count and seed give the same lines. The pages are works of the U.S. Bureau of Labor Statistics and in the
public domain.
"""

import argparse
import json
import pathlib
import random
import re
import sys

# Kind, how its row's label begins, and the ways to ask. {many} is the page's title in lower case, {one} a member of it.
FACTS = [
    ("median pay", "Median Pay", [
        "How much do {many} earn?",
        "What is the median pay of {many}?",
        "What salary can {many} expect?",
        "How much does {a_one} make per year?",
        "What do {many} get paid?",
    ]),
    ("entry-level education", "Typical Entry-Level Education", [
        "What education do {many} need?",
        "Which degree do {many} typically have?",
        "What level of schooling does {a_one} need to start?",
        "What is the entry-level education for {many}?",
    ]),
    ("work experience", "Work Experience in a Related Occupation", [
        "How much work experience in a related occupation do {many} need?",
        "Do {many} need work experience in a related occupation?",
        "What prior work experience does {a_one} need?",
    ]),
    ("on-the-job training", "On-the-job Training", [
        "What on-the-job training do {many} get?",
        "What kind of on-the-job training does {a_one} receive?",
        "How are {many} trained on the job?",
    ]),
    ("number of jobs", "Number of Jobs", [
        "How many {many} are there?",
        "How many jobs did {many} hold in 2024?",
        "What was the number of jobs for {many} in 2024?",
        "How many people work as {many}?",
    ]),
    ("job outlook", "Job Outlook", [
        "What is the job outlook for {many}?",
        "How fast is employment of {many} projected to grow?",
        "What is the projected growth for {many}?",
        "Is demand for {many} growing?",
    ]),
    ("employment change", "Employment Change", [
        "What is the projected employment change for {many}?",
        "How many jobs for {many} will be added or lost by 2034?",
        "By how many jobs will employment of {many} change?",
    ]),
]

NO_ANSWER = ("See How to Become One", "See ")


def rows(page):
    """Label and value of each row of the page's quick-facts table."""
    table = re.search(r"^\| Quick Facts.*?(?=\n\n)", page, re.S | re.M)
    if not table:
        return []
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ", 1)] for line in table.group().splitlines()[2:]]
    return [(row[0], row[1]) for row in cells if len(row) == 2 and row[1]]


def singular(title):
    """One member of a role whose title is a single plural, or None."""
    if re.search(r",|/| and ", title) or not title.endswith("s") or title.endswith("ss"):
        return None
    name = title[:-3] + "y" if title.endswith("ies") else title[:-1]
    return re.sub(r"\b[A-Z][a-z]", lambda match: match.group().lower(), name)


def expected(fact, label, value):
    """Strings that state the value, in the row or in the page's prose."""
    if value == "None":
        return [f"{label} | None"]  # "None" alone stands in many rows
    if fact == "median pay":
        figures = re.findall(r"\$[\d,]+(?:\.\d+)?", value)
        return figures[:1]
    if fact in ("number of jobs", "employment change"):
        figure = re.search(r"-?[\d,]+", value)
        return [figure.group()] if figure else []
    if fact == "job outlook":
        figure = re.search(r"-?\d+(?=%)", value)
        if not figure:
            return []
        return [figure.group() + "%"] + ([figure.group() + " percent"] if "-" not in figure.group() else
                                         ["decline " + figure.group()[1:] + " percent"])
    return [value]


def questions(folder, count, seed):
    """Spreads the questions over kinds of fact in turn, each about another page where there are enough."""
    chance = random.Random(seed)
    pages = []
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        facts = rows(text)
        if facts:
            pages.append((path.name, text.splitlines()[0].lstrip("# ").strip(), facts))
    chance.shuffle(pages)
    made = []
    turn = 0
    while pages and len(made) < count:
        name, title, facts = pages.pop()
        fact, label, phrasings = FACTS[turn % len(FACTS)]
        value = next((value for row, value in facts if label in row), "")
        answers = [] if value.startswith(NO_ANSWER) else expected(fact, label, value)
        if not answers:
            continue
        many = re.sub(r"\b[A-Z][a-z]", lambda match: match.group().lower(), title)
        one = singular(title)
        article = None if one is None else ("an " if one[0] in "aeiou" else "a ") + one
        usable = [phrasing for phrasing in phrasings if article or "{a_one}" not in phrasing]
        question = chance.choice(usable).format(many=many, a_one=article)
        made.append({"question": question, "page": name, "fact": fact, "expected": answers})
        turn += 1
    return made


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=pathlib.Path, help="folder of the pages, *.md")
    arguments.add_argument("--count", type=int, default=60, help="questions to make (default 60)")
    arguments.add_argument("--seed", type=int, default=2, help="seed of the choices (default 2)")
    options = arguments.parse_args()
    made = questions(options.folder, options.count, options.seed)
    if len(made) < options.count:
        sys.exit(f"{options.folder}: only {len(made)} questions could be made; are these the handbook's pages?")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # the same bytes whatever the locale
    source = "U.S. Bureau of Labor Statistics, Occupational Outlook Handbook; public domain"
    for line in [{"source": source, "made_by": "scripts/quick_facts.py", "seed": options.seed}, *made]:
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
