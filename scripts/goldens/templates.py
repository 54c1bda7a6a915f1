"""Renders the conversations of `crates/text/tests/goldens` as transformers does, with its own Jinja environment.

Usage: templates.py TEMPLATES_FOLDER crates/text/tests/goldens. Reads conversations.json there and writes NAME.json for each
NAME.jinja. BOS is "<BOS>", EOS "<EOS>", the clock stands at 2025-03-09 14:05:07.
"""

import datetime
import json
import sys
from pathlib import Path

import jinja2
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2025, 3, 9, 14, 5, 7)


def main():
    templates, goldens = Path(sys.argv[1]), Path(sys.argv[2])
    conversations = json.loads((goldens / "conversations.json").read_text())
    for path in sorted(templates.glob("*.jinja")):
        template = chat_template_utils._compile_jinja_template(path.read_text())
        template.globals["strftime_now"] = lambda format: NOW.strftime(format)
        rendered = {}
        for name, case in conversations.items():
            try:
                rendered[name] = template.render(
                    messages=case["messages"], tools=case.get("tools"), documents=None, bos_token="<BOS>", eos_token="<EOS>",
                    add_generation_prompt=case["add_generation_prompt"],
                )
            except jinja2.exceptions.TemplateError as error:
                rendered[name] = {"raised": error.message}
            except TypeError as error:
                rendered[name] = {"failed": str(error)}
        (goldens / f"{path.stem}.json").write_text(json.dumps(rendered, indent=1, ensure_ascii=False) + "\n")


main()
