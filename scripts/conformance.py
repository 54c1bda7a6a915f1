#!/usr/bin/env python3
"""Drives a running Sconce through the official `openai` client and checks what the client makes of every answer.

    pip install -r scripts/requirements-conformance.txt
    python scripts/conformance.py --base-url http://127.0.0.1:8080 --expect-model stories260K
    python scripts/conformance.py --base-url http://127.0.0.1:8080 --no-model

One line per check; the exit status is 1 when one failed. It creates files and a vector store, and deletes them.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request

import openai

QUOTE = "A lamplighter tends 312 street lamps each evening and puts them out again at dawn"
DOCUMENT = f"""# Lamplighter

## Duties

{QUOTE}. Lamplighters also trim wicks and clean the glass.

## Pay

The median annual pay of a lamplighter was 41,250 crowns in 1887.
"""
OTHER = """# Ferryman

## Duties

A ferryman rows passengers across the river and keeps the boat in good repair.
"""


class Checks:
    """Runs checks by name and counts how they end."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, name, check):
        try:
            check()
        except Exception as error:  # A check that breaks in any way has failed; the others still run.
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        else:
            self.passed += 1
            print(f"ok   {name}", flush=True)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_error(kind, call, param=None, code=None):
    """`call` must raise exactly this class, with this `param` and `code` where they are given."""
    try:
        call()
    except kind as error:
        if param is not None:
            expect(error.param == param, f"param is {error.param!r}, expected {param!r}: {error}")
        if code is not None:
            expect(error.code == code, f"code is {error.code!r}, expected {code!r}: {error}")
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def fetch(url, data=None, method=None, headers=None):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def check_operations(checks, root, has_model):
    def health():
        status, _, _ = fetch(f"{root}/health")
        expect(status == 200, status)

    def ready():
        status, text, _ = fetch(f"{root}/ready")
        body = json.loads(text)
        expect(status == 200 and body["status"] == "ready", text)
        expect((body["model"] is not None) == has_model, text)

    def metrics():
        status, text, _ = fetch(f"{root}/metrics")
        expect(status == 200 and "sconce_http_requests_total" in text and text.endswith("# EOF\n"), text[:200])
        if has_model:
            expect("sconce_time_to_first_token_seconds_bucket" in text, "no TTFT histogram")

    def welcome():
        status, text, _ = fetch(f"{root}/")
        expect(status == 200 and "curl http" in text and "/v1/vector_stores" in text, text[:200])

    def raw(path, wanted, data=None, method=None, headers=None):
        status, text, _ = fetch(f"{root}{path}", data, method, headers)
        error = json.loads(text)["error"]
        expect(status == wanted and {"message", "type", "param", "code"} <= error.keys(), f"{status} {text}")
        return error

    def malformed():
        error = raw("/v1/responses", 400, b'{"input": ', "POST", {"Content-Type": "application/json"})
        expect("line 1 column" in error["message"], error)

    checks.run("/health answers", health)
    checks.run("/ready says what is served", ready)
    checks.run("/metrics is Prometheus text", metrics)
    checks.run("/ lists the routes and a curl line", welcome)
    checks.run("an unknown route is a 404 in the same shape", lambda: raw("/v1/nothing", 404))
    checks.run("a wrong method is a 405 in the same shape", lambda: raw("/v1/models", 405, b"", "POST"))
    checks.run("malformed JSON is a 400 that says where", malformed)
    checks.run("another content type is a 415", lambda: raw("/v1/responses", 415, b"input=x", "POST"))


def check_models(checks, client, model):
    def listed():
        ids = [item.id for item in client.models.list()]
        expect((model in ids) if model else ids == [], ids)

    def one():
        item = client.models.retrieve(model)
        expect(item.id == model and item.object == "model" and item.created > 0, item)

    checks.run("models.list", listed)
    if model:
        checks.run("models.retrieve", one)
    checks.run(
        "models.retrieve of another is NotFoundError",
        lambda: expect_error(openai.NotFoundError, lambda: client.models.retrieve("gpt-none"), code="model_not_found"),
    )


def check_no_model(checks, client):
    def unavailable(call):
        error = expect_error(openai.InternalServerError, call)
        expect(error.status_code == 503 and "--model" in str(error), error)

    chat = client.chat.completions
    checks.run(
        "chat without a model is a 503 that says how to load one",
        lambda: unavailable(lambda: chat.create(model="any", messages=[{"role": "user", "content": "hi"}])),
    )
    checks.run(
        "completions without a model is a 503 that says how to load one",
        lambda: unavailable(lambda: client.completions.create(model="any", prompt="hi")),
    )
    checks.run(
        "responses without a model and without file_search is a 503",
        lambda: unavailable(lambda: client.responses.create(model="any", input="hi")),
    )


def check_completions(checks, client, model):
    prompt = "Once upon a time"
    greedy = dict(model=model, prompt=prompt, max_tokens=24, temperature=0)
    state = {}

    def whole():
        answer = client.completions.create(**greedy)
        choice = answer.choices[0]
        state["text"] = choice.text
        expect(answer.object == "text_completion" and answer.model == model, answer)
        expect(choice.text and choice.finish_reason in ("length", "stop"), choice)
        usage = answer.usage
        expect(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage)
        expect(usage.prompt_tokens_details.cached_tokens >= 0, usage)

    def streamed():
        chunks = list(client.completions.create(**greedy, stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
        expect(text == state["text"], f"{text!r} differs from the whole answer {state['text']!r}")
        expect(chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0, chunks[-1])
        expect(all(chunk.usage is None for chunk in chunks[:-1]), "a chunk before the last has usage")
        expect(len({chunk.id for chunk in chunks}) == 1, "the id changes within the stream")

    def several():
        answer = client.completions.create(model=model, prompt=[prompt, "The dog"], n=2, max_tokens=4, seed=7)
        expect([choice.index for choice in answer.choices] == [0, 1, 2, 3], answer.choices)

    def tokens():
        answer = client.completions.create(model=model, prompt=[1, 2, 3], max_tokens=2)
        expect(answer.usage.prompt_tokens == 3, answer.usage)

    def logprobs():
        answer = client.completions.create(**greedy, logprobs=3)
        found = answer.choices[0].logprobs
        count = answer.usage.completion_tokens
        expect(0 < len(found.tokens) <= count, f"{len(found.tokens)} tokens of {count}")
        lengths = {len(found.tokens), len(found.token_logprobs), len(found.top_logprobs), len(found.text_offset)}
        expect(len(lengths) == 1 and all(value <= 0 for value in found.token_logprobs), found)

    def stop():
        full = state["text"]
        word = next(word for word in full.split() if len(word) > 2)
        answer = client.completions.create(**greedy, stop=word)
        expect(answer.choices[0].text == full.split(word)[0], answer.choices[0])
        expect(answer.choices[0].finish_reason == "stop", answer.choices[0])

    def seeded():
        sample = dict(model=model, prompt=prompt, max_tokens=16, temperature=1, seed=1234)
        first, second = (client.completions.create(**sample).choices[0].text for _ in range(2))
        expect(first == second, f"{first!r} and {second!r}")

    def dropped():
        stream = client.completions.create(model=model, prompt=prompt, max_tokens=400, stream=True)
        next(iter(stream))
        stream.close()
        expect(client.completions.create(**greedy).choices[0].text == state["text"], "the next answer differs")

    def default_bound():
        answer = client.completions.create(model=model, prompt=prompt, extra_body={"ignore_eos": True})
        expect(answer.usage.completion_tokens == 16 and answer.choices[0].finish_reason == "length", answer)

    def bounded():
        answer = client.completions.create(**{**greedy, "max_tokens": 3}, extra_body={"ignore_eos": True})
        expect(answer.usage.completion_tokens == 3 and answer.choices[0].finish_reason == "length", answer)

    checks.run("completions whole, with usage", whole)
    checks.run("completions streamed equals whole, usage last", streamed)
    checks.run("completions of two prompts with n=2", several)
    checks.run("completions of token ids", tokens)
    checks.run("completions with logprobs", logprobs)
    checks.run("completions end before a stop string", stop)
    checks.run("completions with a seed repeat", seeded)
    checks.run("completions: a stream may be dropped", dropped)
    checks.run("completions without max_tokens end after 16", default_bound)
    checks.run("completions: ignore_eos runs to max_tokens", bounded)


def check_chat(checks, client, model):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    greedy = dict(model=model, messages=messages, max_tokens=12, temperature=0)
    try:
        client.chat.completions.create(**greedy)
    except openai.BadRequestError as error:
        if error.code != "no_chat_template":
            raise
        # Without a template the refusal itself is what can be checked.
        checks.run("chat without a template names /v1/completions", lambda: expect("/v1/completions" in str(error), error))
        return
    state = {}

    def whole():
        answer = client.chat.completions.create(**greedy)
        message = answer.choices[0].message
        state["text"] = message.content
        expect(answer.object == "chat.completion" and message.role == "assistant", answer)
        expect(answer.usage.prompt_tokens > 0 and answer.choices[0].finish_reason in ("length", "stop"), answer)

    def streamed():
        chunks = list(client.chat.completions.create(**greedy, stream=True, stream_options={"include_usage": True}))
        expect(chunks[0].choices[0].delta.role == "assistant", chunks[0])
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        expect(text == state["text"], f"{text!r} differs from {state['text']!r}")
        expect(chunks[-2].choices[0].finish_reason in ("length", "stop"), chunks[-2])
        expect(chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1])

    def helper():
        text = ""
        with client.chat.completions.stream(**greedy) as stream:
            try:
                for event in stream:
                    text += event.delta if event.type == "content.delta" else ""
            except openai.LengthFinishReasonError:
                pass  # How the helper reports an answer that was cut at max_tokens.
        expect(text == state["text"], f"{text!r} differs from {state['text']!r}")

    def logprobs():
        answer = client.chat.completions.create(**greedy, logprobs=True, top_logprobs=2)
        entries = answer.choices[0].logprobs.content
        expect(entries and all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in entries), entries[:2])

    def several():
        answer = client.chat.completions.create(**{**greedy, "temperature": 1}, n=2, seed=3)
        expect([choice.index for choice in answer.choices] == [0, 1], answer.choices)

    checks.run("chat whole, with usage", whole)
    checks.run("chat streamed equals whole, role first, usage last", streamed)
    checks.run("chat through the client's stream helper", helper)
    checks.run("chat with logprobs", logprobs)
    checks.run("chat with n=2", several)


def check_generation_errors(checks, client, model):
    completion = lambda **fields: lambda: client.completions.create(**{"model": model, "prompt": "a", **fields})
    chat = lambda **fields: lambda: client.chat.completions.create(
        **{"model": model, "messages": [{"role": "user", "content": "a"}], **fields}
    )
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    cases = [
        ("n", completion(n=0)),
        ("n", completion(n=17)),
        ("temperature", completion(temperature=2.5)),
        ("temperature", completion(extra_body={"temperature": "hot"})),
        ("top_p", completion(top_p=1.5)),
        ("max_tokens", completion(max_tokens=0)),
        ("max_tokens", completion(max_tokens=10**9)),
        ("presence_penalty", completion(presence_penalty=3)),
        ("logprobs", completion(logprobs=99)),
        ("logit_bias", completion(logit_bias={"word": 1})),
        ("stop", completion(stop=[str(number) for number in range(17)])),
        ("prompt", completion(prompt="")),
        ("prompt", completion(prompt=[])),
        ("prompt", completion(prompt=[10**8])),
        ("prompt", completion(prompt="again and " * 200_000)),
        ("echo", completion(echo=True)),
        ("suffix", completion(suffix="end")),
        ("best_of", completion(best_of=3)),
        ("stream_options", completion(extra_body={"stream_options": {"include_usage": True}})),
        ("messages", chat(messages=[])),
        ("messages.0.role", chat(messages=[{"role": "wizard", "content": "a"}])),
        ("messages.0.content.0.type", chat(messages=[{"role": "user", "content": image}])),
        ("tools", chat(tools=[tool], tool_choice="required")),
        ("response_format", chat(response_format={"type": "json_object"})),
        ("top_logprobs", chat(top_logprobs=2)),
    ]
    for param, call in cases:
        checks.run(f"BadRequestError names {param}", lambda: expect_error(openai.BadRequestError, call, param=param))
    checks.run(
        "another model is NotFoundError",
        lambda: expect_error(openai.NotFoundError, completion(model="gpt-none"), param="model", code="model_not_found"),
    )


class Documents:
    """The files and the store that the document checks share."""

    def __init__(self, client):
        self.client = client
        self.files = []
        self.store = None

    def upload(self, name, text):
        file = self.client.files.create(file=(name, text.encode()), purpose="assistants")
        self.files.append(file.id)
        return file

    def clean(self):
        if self.store is not None:
            self.client.vector_stores.delete(self.store)
        for file in self.files:
            self.client.files.delete(file)


def check_files(checks, client, documents):
    def create():
        file = documents.upload("lamplighter.md", DOCUMENT)
        expect(file.object == "file" and file.bytes == len(DOCUMENT.encode()), file)
        expect(file.filename == "lamplighter.md" and file.purpose == "assistants", file)
        documents.upload("ferryman.md", OTHER)

    def read():
        file = client.files.retrieve(documents.files[0])
        expect(file.filename == "lamplighter.md", file)
        expect(client.files.content(file.id).read().decode() == DOCUMENT, "the content differs")

    def pages():
        seen = [file.id for file in client.files.list(limit=1, order="asc")]
        expect(set(documents.files) <= set(seen) and len(seen) == len(set(seen)), seen)

    def delete():
        file = client.files.create(file=("gone.txt", b"gone"), purpose="user_data")
        expect(client.files.delete(file.id).deleted is True, file)
        expect_error(openai.NotFoundError, lambda: client.files.retrieve(file.id))

    checks.run("files.create", create)
    checks.run("files.retrieve and content", read)
    checks.run("files.list walks its pages", pages)
    checks.run("files.delete", delete)
    checks.run(
        "files.create with another purpose names purpose",
        lambda: expect_error(
            openai.BadRequestError, lambda: client.files.create(file=("a.txt", b"a"), purpose="nonsense"), param="purpose"
        ),
    )
    checks.run(
        "files.retrieve of another is NotFoundError",
        lambda: expect_error(openai.NotFoundError, lambda: client.files.retrieve("file-none")),
    )


def check_stores(checks, client, documents):
    stores = client.vector_stores

    def create():
        store = stores.create(name="trades", metadata={"team": "lamps"})
        documents.store = store.id
        expect(store.object == "vector_store" and store.name == "trades" and store.metadata == {"team": "lamps"}, store)
        expect(store.file_counts.total == 0 and store.status == "completed", store)

    def attach():
        file = stores.files.create_and_poll(
            documents.files[0], vector_store_id=documents.store, attributes={"era": "gas", "year": 1887, "indoor": False}
        )
        expect(file.status == "completed" and file.last_error is None, file)
        expect(file.attributes["era"] == "gas" and file.attributes["year"] == 1887, file)

    def batch():
        files = [{"file_id": documents.files[1], "attributes": {"era": "water"}}]
        answer = stores.file_batches.create_and_poll(documents.store, files=files)
        expect(answer.status == "completed" and answer.file_counts.completed == 1, answer)

    def batch_again():
        store = stores.create(name="batch")
        batches = dict(vector_store_id=store.id)
        files = [(f"{name}.md", f"# {name}\n\nOne line.\n".encode()) for name in ("one", "two", "three")]
        made = stores.file_batches.upload_and_poll(store.id, files=files)
        expect(made.status == "completed" and made.file_counts.completed == 3, made)
        expect(stores.file_batches.retrieve(made.id, **batches) == made, made)
        expect(stores.file_batches.cancel(made.id, **batches) == made, made)
        listed = [file.id for file in stores.file_batches.list_files(made.id, **batches, limit=1)]
        expect(len(listed) == len(set(listed)) == 3, listed)
        expect(not list(stores.file_batches.list_files(made.id, **batches, filter="failed")), "filter")
        expect_error(openai.NotFoundError, lambda: stores.file_batches.retrieve("vsfb_none", **batches))
        stores.delete(store.id)
        for file in listed:
            client.files.delete(file)

    def listed():
        ids = {file.id for file in stores.files.list(documents.store, limit=1)}
        expect(ids == set(documents.files), ids)
        expect(stores.files.retrieve(documents.files[0], vector_store_id=documents.store).status == "completed", "status")
        expect(documents.store in {store.id for store in stores.list()}, "the store is not listed")
        expect(stores.retrieve(documents.store).file_counts.completed == 2, stores.retrieve(documents.store))

    def update():
        store = stores.update(documents.store, name="old trades", metadata={"team": "wicks"})
        expect(store.name == "old trades" and store.metadata == {"team": "wicks"}, store)

    def content():
        text = "".join(part.text for part in stores.files.content(documents.files[0], vector_store_id=documents.store))
        expect(QUOTE in text, text[:200])

    def unsupported():
        file = documents.upload("picture.png", "\0\1\2")
        attached = stores.files.create(documents.store, file_id=file.id)
        expect(attached.status == "failed" and attached.last_error.message, attached)
        stores.files.delete(file.id, vector_store_id=documents.store)

    checks.run("vector_stores.create", create)
    checks.run("vector_stores.files.create_and_poll with attributes", attach)
    checks.run("vector_stores.file_batches.create_and_poll with attributes", batch)
    checks.run("vector_stores.file_batches: upload_and_poll, retrieve, cancel, list_files", batch_again)
    checks.run("vector_stores.files.list and retrieve", listed)
    checks.run("vector_stores.update", update)
    checks.run("vector_stores.files.content", content)
    checks.run("a file that cannot be read is failed, with its reason", unsupported)
    checks.run(
        "vector_stores.retrieve of another is NotFoundError",
        lambda: expect_error(openai.NotFoundError, lambda: stores.retrieve("vs_none")),
    )


def check_search(checks, client, documents):
    def search(**fields):
        return list(client.vector_stores.search(documents.store, **{"query": "lamplighter street lamps", **fields}))

    def plain():
        hits = search(max_num_results=5)
        expect(hits and hits[0].file_id == documents.files[0] and hits[0].filename == "lamplighter.md", hits)
        expect("312 street lamps" in "".join(hit.content[0].text for hit in hits), hits)
        expect(all(0 <= hit.score <= 1 for hit in hits) and hits[0].attributes["era"] == "gas", hits)

    def filtered():
        expect(not search(filters={"type": "eq", "key": "era", "value": "water"}, query="lamps"), "filter let it through")
        both = [{"type": "gte", "key": "year", "value": 1880}, {"type": "eq", "key": "indoor", "value": False}]
        expect(search(filters={"type": "and", "filters": both}), "and")
        either = [{"type": "in", "key": "era", "value": ["gas"]}, {"type": "lt", "key": "year", "value": 1}]
        expect(search(filters={"type": "or", "filters": either}), "or")

    def bounded():
        expect(len(search(max_num_results=1)) == 1, "max_num_results")
        expect(search(query=["lamps", "wicks"]), "several queries")
        threshold = max(hit.score for hit in search())
        hits = search(ranking_options={"score_threshold": threshold})
        expect(hits and all(hit.score >= threshold for hit in hits), hits)

    def bad(param, **fields):
        return lambda: expect_error(openai.BadRequestError, lambda: search(**fields), param=param)

    checks.run("search finds the right file", plain)
    checks.run("search with filters", filtered)
    checks.run("search with bounds", bounded)
    checks.run("search names max_num_results", bad("max_num_results", max_num_results=51))
    checks.run("search names an empty query", bad("query", query=""))
    checks.run(
        "search names a broken filter",
        lambda: expect_error(openai.BadRequestError, lambda: search(filters={"type": "near", "key": "era", "value": 1})),
    )


def check_responses(checks, client, model, documents):
    tool = {"type": "file_search", "vector_store_ids": [documents.store], "max_num_results": 5}
    ask = dict(
        model=model or "none",
        input="Which street lamps does a lamplighter tend each evening?",
        tools=[tool],
        include=["file_search_call.results"],
    )

    def check_answer(response):
        expect(response.status == "completed" and response.error is None, response)
        call, message = response.output
        expect(call.type == "file_search_call" and call.results and call.queries, call)
        expect(message.type == "message" and message.role == "assistant", message)
        text = message.content[0]
        expect(text.annotations, f"no annotations in {text.text!r}")
        citation = text.annotations[0]
        expect(citation.type == "file_citation" and citation.file_id == documents.files[0], citation)
        expect(citation.filename == "lamplighter.md" and 0 <= citation.index <= len(text.text), citation)
        expect("312" in response.output_text, response.output_text)
        sconce = response.model_extra["sconce"]
        expect(sconce["route"] in ("generated", "quoted"), sconce)
        evidence = sconce["citations"][0]
        start, end = evidence["source_span"]
        source = "".join(
            part.text for part in client.vector_stores.files.content(evidence["file_id"], vector_store_id=documents.store)
        )
        expect(source.encode()[start:end].decode() == evidence["quote"], f"the quote is not at its span: {evidence}")

    def whole():
        check_answer(client.responses.create(**ask))

    def streamed():
        events = list(client.responses.create(**ask, stream=True))
        kinds = [event.type for event in events]
        expect(kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds)
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        expect(text == events[-1].response.output_text, text)
        expect([event.sequence_number for event in events] == list(range(len(events))), "sequence numbers")
        check_answer(events[-1].response)

    def helper():
        with client.responses.stream(**ask) as stream:
            final = stream.get_final_response()
        check_answer(final)

    def messages():
        turns = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": [{"type": "input_text", "text": "What did a lamplighter earn in 1887?"}]},
        ]
        response = client.responses.create(**{**ask, "input": turns})
        expect("41,250" in response.output_text, response.output_text)

    def unknown():
        response = client.responses.create(**{**ask, "input": "What is the boiling point of tungsten hexafluoride?"})
        expect(response.model_extra["sconce"]["route"] == "not_found", response.model_extra)
        expect(not response.output[-1].content[0].annotations and response.output_text, response.output_text)

    def bad(kind, param, **fields):
        return lambda: expect_error(kind, lambda: client.responses.create(**{**ask, **fields}), param=param)

    other = {"type": "file_search", "vector_store_ids": ["vs_none"]}
    checks.run("responses with file_search cite the right file", whole)
    checks.run("responses streamed equal whole", streamed)
    checks.run("responses through the client's stream helper", helper)
    checks.run("responses with a list of messages", messages)
    checks.run("responses say when the documents do not tell", unknown)
    checks.run("responses over an unknown store are NotFoundError", bad(openai.NotFoundError, None, tools=[other]))
    checks.run("responses name an empty input", bad(openai.BadRequestError, "input", input=""))
    checks.run(
        "responses name another tool",
        bad(openai.BadRequestError, "tools.0.type", tools=[{"type": "web_search"}]),
    )
    if model:
        checks.run(
            "responses with another model are NotFoundError", bad(openai.NotFoundError, "model", model="gpt-none")
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True, help="the server, such as http://127.0.0.1:8080")
    parser.add_argument("--api-key", default="none", help="the server's key, if it wants one")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--expect-model", metavar="ID", help="a model with this id is loaded")
    mode.add_argument("--no-model", action="store_true", help="no model is loaded")
    arguments = parser.parse_args()
    root = arguments.base_url.rstrip("/").removesuffix("/v1")
    model = arguments.expect_model
    client = openai.OpenAI(base_url=f"{root}/v1", api_key=arguments.api_key, max_retries=0, timeout=120)

    checks = Checks()
    check_operations(checks, root, has_model=model is not None)
    check_models(checks, client, model)
    if model:
        check_completions(checks, client, model)
        checks.run("chat", lambda: check_chat(checks, client, model))
        check_generation_errors(checks, client, model)
    else:
        check_no_model(checks, client)
    documents = Documents(client)
    check_files(checks, client, documents)
    check_stores(checks, client, documents)
    if documents.store is None:
        checks.run("search and responses", lambda: expect(False, "there is no vector store to ask"))
    else:
        check_search(checks, client, documents)
        check_responses(checks, client, model, documents)
    checks.run("what was created is deleted", documents.clean)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
