"""Names of roles as people write them: singular and plural, with an article, in lower case but for acronyms."""

import random
import re

IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child", "staff": "staff"}
IRREGULAR_PLURALS = {one: many for many, one in IRREGULAR.items()}
# Endings in "s" that are no plurals.
SINGULAR_ENDINGS = ("ss", "us", "is", "ics")


def singular(title):
    return each_name(title, singular_word)


def plural(title):
    return each_name(title, plural_word)


def each_name(title, change):
    """Changes the head of a title: its last word, and the last word before "and" where that is a plural like it."""
    title = re.sub(r"\s*\(.*?\)", "", title)
    head = re.split(r"\b(?:,? except|,? all other|, including)\b", title, flags=re.I)[0]
    head = re.split(r", (?!.*\band\b)", head)[0]
    parts = re.split(r"(\s+and\s+|\s+or\s+)", head.strip())
    for index in range(0, len(parts), 2):
        words = parts[index].split(" ")
        is_head = index == len(parts) - 1 or (words[-1].endswith("s") and not words[-1].endswith(SINGULAR_ENDINGS))
        if is_head:
            words[-1] = change(words[-1])
        parts[index] = " ".join(words)
    return "".join(parts)


def singular_word(word):
    low = word.lower()
    if low in IRREGULAR:
        return IRREGULAR[low].capitalize() if word[0].isupper() else IRREGULAR[low]
    if low.endswith("men") and len(low) > 4:
        return word[:-2] + "an"
    if low.endswith(SINGULAR_ENDINGS) or not low.endswith("s"):
        return word
    if low.endswith("ies") and len(low) > 4:
        return word[:-3] + "y"
    if low.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1]


def plural_word(word):
    low = word.lower()
    if low in IRREGULAR_PLURALS:
        many = IRREGULAR_PLURALS[low]
        return many.capitalize() if word[0].isupper() else many
    if (low.endswith("s") and not low.endswith(SINGULAR_ENDINGS)) or low in IRREGULAR or (low.endswith("men") and len(low) > 4):
        return word
    if low.endswith("man"):
        return word[:-2] + "en"
    if low.endswith("y") and low[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if low.endswith(("s", "x", "sh", "ch")):
        return word + "es"
    return word + "s"


def lower(name):
    """In lower case, but for words such as "AI" or "QA/Test"."""
    return " ".join(word if sum(c.isupper() for c in word) > 1 else word.lower() for word in name.split(" "))


def article(name):
    return (
        "an " if re.match(r"[aeio]|un|um|us|AI|HR|SQL|X-", name, re.I) and not re.match("uni|one|eu|use", name, re.I) else "a "
    ) + name


def forms(title, rng: random.Random):
    """The fields of a question's or sentence's template: role, a_role, roles, Roles, A_role."""
    one, many = singular(title), plural(title)
    if rng.random() < 0.75:
        one, many = lower(one), lower(many)
    return {"role": one, "roles": many, "a_role": article(one), "Roles": capital(many), "A_role": capital(article(one))}


def capital(text):
    return text[:1].upper() + text[1:]
