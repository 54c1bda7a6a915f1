#!/usr/bin/env python3
"""Through the official `openai` client: a published continuation, and 32 prompts of 1 to 400 tokens that join while others
decode, each equal to its answer alone, streamed and whole.

    pip install -r scripts/requirements-conformance.txt
    sconce serve --model stories260K.gguf &
    python scripts/batch_equals_alone.py --base-url http://127.0.0.1:8080
"""

import argparse
import random
import sys
import threading
import time

import openai

CONTINUATION = (
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball."
)
PROMPTS, LONGEST, OUTPUT = 32, 400, 48


def whole(client, model, prompt, max_tokens):
    answer = client.completions.create(model=model, prompt=prompt, max_tokens=max_tokens, temperature=0)
    return answer.choices[0].text


def streamed(client, model, prompt, max_tokens):
    stream = client.completions.create(model=model, prompt=prompt, max_tokens=max_tokens, temperature=0, stream=True)
    return "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=arguments.base_url.rstrip("/") + "/v1", api_key="none", timeout=120, max_retries=0)
    models = client.models.list().data
    if not models:
        sys.exit(f"the server at {arguments.base_url} has no model; start it with --model stories260K.gguf")
    model = models[0].id
    failed = 0

    def check(name, good):
        nonlocal failed
        failed += not good
        print(("ok   " if good else "FAIL ") + name, flush=True)

    for name, ask in (("whole", whole), ("streamed", streamed)):
        check(f"the published continuation, {name}", ask(client, model, "Once upon a time", 60).startswith(CONTINUATION))

    # Token ids, so that lengths are exact; 1 and 2 begin and end texts.
    draw = random.Random(7)
    lengths = [1 + index * (LONGEST - 1) // (PROMPTS - 1) for index in range(PROMPTS)]
    prompts = [[1] + [draw.randrange(260, 512) for _ in range(length - 1)] for length in lengths]
    together = [None] * PROMPTS

    def join(index):
        time.sleep(index * 0.02)
        together[index] = (streamed if index % 2 else whole)(client, model, prompts[index], OUTPUT)

    threads = [threading.Thread(target=join, args=(index,)) for index in range(PROMPTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, prompt in enumerate(prompts):
        alone = (whole if index % 2 else streamed)(client, model, prompt, OUTPUT)
        check(f"prompt of {lengths[index]} tokens together as alone", together[index] == alone and alone)
    print(f"{PROMPTS + 2 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
