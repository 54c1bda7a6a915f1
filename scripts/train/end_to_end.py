"""Asks the questions of corpus/questions.jsonl through the binary, as a user does: retrieval, model, check.

Usage: end_to_end.py SCONCE [--model FILE-or-NAME ...]. Prints a Markdown table, for the models named (by default the demo model, and
none): how often the text that tells is cited, and how often nothing is found where nothing tells.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "corpus"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sconce", type=Path)
    parser.add_argument("--model", action="append")
    options = parser.parse_args()
    questions = [json.loads(line) for line in (CORPUS / "questions.jsonl").read_text().splitlines()]
    told = [question for question in questions if question["document"]]
    print("| model | the telling text is cited | of | nothing is found | of which untold | of |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for model in options.model or ["demo", "none"]:
            answers = [ask(options.sconce.resolve(), Path(folder) / model.replace("/", "-"), question, model) for question in questions]
            cited = sum(tells(question, answer) for question, answer in zip(questions, answers))
            unfound = [question for question, answer in zip(questions, answers) if answer["route"] == "not_found"]
            untold = sum(not question["document"] for question in unfound)
            print(f"| {model} | {cited} | {len(told)} | {len(unfound)} | {untold} | {len(questions) - len(told)} |")


def ask(sconce, folder, question, model):
    named = [] if model == "demo" else ["--model", model]
    command = [sconce, "ask", "--json", "--data-dir", folder, *named, question["question"]]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tells(question, answer):
    wanted = question["answer_contains"]
    return bool(wanted) and any(wanted in citation["quote"] or citation["quote"] in wanted for citation in answer["citations"])


if __name__ == "__main__":
    main()
