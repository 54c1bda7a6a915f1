//! An HTTP/1.1 server in this process that streams completions and misbehaves when the prompt's route asks for it. It is
//! written by hand over TCP, so that it can break what a proper server would not let it break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Streams every token, usage and `[DONE]`.
    Good,
    /// Streams every token, and closes after the finish reason: no usage, no `[DONE]`.
    NoUsage,
    /// Takes this many milliseconds to the first token.
    SlowFirstToken(u64),
    /// Sends headers and comments, and never a token.
    CommentsOnly,
    /// Says nothing after this many tokens, and keeps the connection.
    StallsAfter(u32),
    /// Closes the connection within a chunk after this many tokens.
    DropsAfter(u32),
    /// 429 with an OpenAI error body.
    TooManyRequests,
    /// A data line that is not JSON.
    MalformedJson,
    /// An error event after one token.
    ErrorEvent,
    /// A whole completion although a stream was asked for.
    NotAStream,
    /// A line without an end.
    EndlessLine,
    /// More tokens than were asked for, without an end.
    EndlessTokens,
    /// Ends well without any text.
    NoText,
    /// Fewer tokens than were asked for.
    EndsEarly,
    /// Every second request gets a 429.
    EverySecondRefused,
}

/// A running server; it ends when this is dropped.
pub(crate) struct FakeServer {
    pub(crate) base_url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    manner: Manner,
    token_delay: Duration,
    models: Value,
    requests: Mutex<Vec<Value>>,
    completions: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl FakeServer {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::start_with(manner, Duration::from_millis(1), json!({ "object": "list", "data": [{ "id": "fake-1" }] }))
            .await
    }

    pub(crate) async fn start_with(manner: Manner, token_delay: Duration, models: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            manner,
            token_delay,
            models,
            requests: Mutex::default(),
            completions: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let for_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&for_task);
                tokio::spawn(async move {
                    let _client_left = serve(stream, &shared).await;
                });
            }
        });
        Self { base_url, shared, task }
    }

    /// The bodies of the completions asked for, calibration left out.
    pub(crate) fn measured(&self) -> Vec<Value> {
        let requests = self.shared.requests.lock().expect("no panic");
        requests.iter().filter(|body| body["max_tokens"] != 1).cloned().collect()
    }

    /// Every body, calibration first.
    pub(crate) fn all(&self) -> Vec<Value> {
        self.shared.requests.lock().expect("no panic").clone()
    }

    /// The most completions that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Two tokens for begin-of-text and template, and one and a half for each word: odd words have two.
pub(crate) fn count_tokens(prompt: &str) -> u64 {
    let words = prompt.split_whitespace().count() as u64;
    2 + words + words / 2
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let Some((route, body)) = read_request(&mut stream).await? else { return Ok(()) };
    if route.starts_with("GET /v1/models ") {
        return respond(&mut stream, "200 OK", &shared.models.to_string()).await;
    }
    let chat = route.starts_with("POST /v1/chat/completions ");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.requests.lock().expect("no panic").push(body.clone());
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_open.fetch_max(open, Ordering::SeqCst);
    let result = complete(&mut stream, shared, &body, chat).await;
    shared.open.fetch_sub(1, Ordering::SeqCst);
    result
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&part[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>())
            })
            .and_then(Result::ok)
            .unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return Ok(Some((head, bytes[end + 4..end + 4 + length].to_vec())));
        }
    }
}

async fn respond(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nserver: fake/0.1\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

/// One HTTP chunk.
async fn send(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}

async fn send_event(stream: &mut TcpStream, data: &Value) -> std::io::Result<()> {
    send(stream, &format!("data: {data}\n\n")).await
}

fn token_event(chat: bool, text: &str, finish: Option<&str>) -> Value {
    if chat {
        json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": finish }] })
    } else {
        json!({ "choices": [{ "index": 0, "text": text, "finish_reason": finish }], "usage": null })
    }
}

async fn complete(stream: &mut TcpStream, shared: &Shared, body: &Value, chat: bool) -> std::io::Result<()> {
    let prompt = if chat { &body["messages"][0]["content"] } else { &body["prompt"] }.as_str().unwrap_or_default();
    let max_tokens = body["max_tokens"].as_u64().unwrap_or(0) as u32;
    let number = shared.completions.fetch_add(1, Ordering::SeqCst);
    let refused =
        shared.manner == Manner::TooManyRequests || shared.manner == Manner::EverySecondRefused && number % 2 == 1;
    if refused {
        let error = json!({ "error": { "message": "too many requests", "type": "rate_limit_error", "code": "429" } });
        return respond(stream, "429 Too Many Requests", &error.to_string()).await;
    }
    if shared.manner == Manner::NotAStream {
        let whole = json!({ "choices": [{ "text": "all at once" }], "usage": { "prompt_tokens": 3 } });
        return respond(stream, "200 OK", &whole.to_string()).await;
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    let tokens = match shared.manner {
        Manner::EndsEarly => max_tokens / 2,
        Manner::EndlessTokens => u32::MAX,
        Manner::NoText => 0,
        _ => max_tokens,
    };
    if let Manner::SlowFirstToken(delay_ms) = shared.manner {
        send(stream, ": wait\n\n").await?;
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    if chat {
        send_event(stream, &json!({ "choices": [{ "delta": { "role": "assistant", "content": "" } }] })).await?;
    }
    for token in 0..tokens {
        if misbehave(stream, shared.manner, token, chat).await? {
            return Ok(());
        }
        if shared.manner != Manner::EndlessTokens {
            tokio::time::sleep(shared.token_delay).await;
        }
        send_event(stream, &token_event(chat, " word", None)).await?;
    }
    send_event(stream, &token_event(chat, "", Some("length"))).await?;
    if shared.manner != Manner::NoUsage {
        let usage = json!({ "choices": [], "usage": {
            "prompt_tokens": count_tokens(prompt), "completion_tokens": tokens,
            "prompt_tokens_details": { "cached_tokens": 3 },
        }});
        send_event(stream, &usage).await?;
        send(stream, "data: [DONE]\n\n").await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Does before this token what the manner asks for; true when the answer is over.
async fn misbehave(stream: &mut TcpStream, manner: Manner, token: u32, chat: bool) -> std::io::Result<bool> {
    match manner {
        Manner::CommentsOnly => loop {
            send(stream, ": still here\r\n\r\n").await?; // ends when the client has left
            tokio::time::sleep(Duration::from_millis(10)).await;
        },
        Manner::StallsAfter(tokens) if token == tokens => std::future::pending().await,
        Manner::DropsAfter(tokens) if token == tokens => {
            stream.write_all(b"40\r\ndata: {\"choi").await?;
            Ok(true)
        }
        Manner::MalformedJson if token == 1 => {
            send(stream, "data: {\"choices\": [\n\n").await?;
            Ok(true)
        }
        Manner::ErrorEvent if token == 1 => {
            send(stream, "event: error\ndata: {\"error\":{\"message\":\"out of memory\"}}\n\n").await?;
            Ok(true)
        }
        Manner::EndlessLine if token == 1 => loop {
            send(stream, &"x".repeat(64 << 10)).await?;
        },
        Manner::EndlessTokens if token == 0 => {
            send_event(stream, &token_event(chat, " first", None)).await?;
            Ok(false)
        }
        _ => Ok(false),
    }
}
