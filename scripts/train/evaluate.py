"""Evaluates a running OpenAI-compatible server on questions about held-out occupations, and prints a Markdown table.

Usage: evaluate.py --data FOLDER [--url http://127.0.0.1:8080] [--model NAME] [--count N]. The passages are sent as Sconce sends
them for an answer (system and user message). What is judged by one token needs `logprobs`.
"""

import argparse
import json
import math
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import corpus
import measure
import prompt
import tasks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", help="the server's first if it is not said")
    parser.add_argument("--key", default="none")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--budget", type=int, default=900, help="characters of the passages at most")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print")
    options = parser.parse_args()
    server = Server(options)
    maker = tasks.Maker([page for page in corpus.load(options.data) if page.held_out], seed=11)
    samples = []
    while len(samples) < options.count:
        sample = maker.sample(options.budget, invented=0.0)
        if sample.task != "talk":
            samples.append(sample)
    table = measure.Table(options.show)
    with ThreadPoolExecutor(options.at_once) as pool:
        for sample, choice in zip(samples, pool.map(server.ask, samples)):
            if sample.task in measure.JUDGEMENTS:
                table.judged(sample, yes_share(choice))
            else:
                table.answered(sample, choice["message"]["content"])
    print(f"{server.model}: {options.count} questions, passages of {options.budget} characters at most\n\n{table.markdown()}")


class Server:
    def __init__(self, options):
        self.url, self.key = options.url.rstrip("/"), options.key
        self.model = options.model or self.call("models")["data"][0]["id"]

    def call(self, route, body=None):
        data = json.dumps(body).encode() if body else None
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.url}/v1/{route}", data, headers)
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)

    def ask(self, sample):
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": prompt.INSTRUCTIONS}, {"role": "user", "content": sample.user}],
            "temperature": 0,
            "max_tokens": 160,
        }
        if sample.task in measure.JUDGEMENTS:
            body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": 5}
        return self.call("chat/completions", body)["choices"][0]


def yes_share(choice):
    """P(yes) / (P(yes) + P(no)) of the first token; one that is not among the likeliest counts nothing."""
    likeliest = choice["logprobs"]["content"][0]["top_logprobs"]
    found = {entry["token"].strip().lower(): math.exp(entry["logprob"]) for entry in reversed(likeliest)}
    yes, no = found.get("yes", 0.0), found.get("no", 0.0)
    return yes / (yes + no) if yes + no else 0.5


if __name__ == "__main__":
    main()
