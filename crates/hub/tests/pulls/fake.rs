//! A small Hugging Face endpoint of the tests' own: one repository, and whatever misbehaviour a test gives it.
// Each test file uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The commit of the only revision.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn is_content(&self) -> bool {
        self.method == "GET" && self.path.contains("/resolve/")
    }

    /// The byte from which on content is asked for.
    pub(crate) fn from(&self) -> usize {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        range.map_or(0, |from| from.parse().expect("a number"))
    }
}

/// What is answered. The connection is closed after it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How much of the body is sent before the connection is cut.
    pub(crate) sent: usize,
    /// Waits before it answers.
    pub(crate) pause: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("Content-Length".to_owned(), body.len().to_string())];
        Self { status, headers, sent: body.len(), body, pause: Duration::ZERO }
    }

    /// Adds a header, or replaces it.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.sent = bytes.min(self.body.len());
        self
    }

    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

/// The repository's files.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a healthy endpoint answers.
pub(crate) fn healthy(files: &Files, request: &Request) -> Answer {
    if request.path.starts_with("/api/models/org/name/revision/main?") {
        let siblings: Vec<String> = files.iter().map(|(name, bytes)| sibling(name, bytes)).collect();
        let body = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", siblings.join(", "));
        return Answer::new(200, body).with("Content-Type", "application/json");
    }
    let name = request.path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/"));
    let Some((name, bytes)) = name.and_then(|name| files.get_key_value(name)) else { return Answer::new(404, "") };
    let from = request.from();
    let answer = match from {
        0 => Answer::new(200, bytes.clone()),
        from => Answer::new(206, &bytes[from..])
            .with("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
    };
    let answer = answer.with("Content-Type", "binary/octet-stream");
    if is_large(name) {
        answer.with("X-Linked-ETag", format!("\"{}\"", sha256(bytes))).with("X-Linked-Size", bytes.len().to_string())
    } else {
        // The endpoint names small files by another hash.
        answer.with("ETag", format!("\"{}\"", &sha256(bytes)[..40]))
    }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".gguf") || name.ends_with(".safetensors")
}

fn sibling(name: &str, bytes: &[u8]) -> String {
    let large =
        if is_large(name) { format!(", \"lfs\": {{\"sha256\": \"{}\"}}", sha256(bytes)) } else { String::new() };
    format!("{{\"rfilename\": {name:?}, \"size\": {}{large}}}", bytes.len())
}

/// The endpoint, until it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Answers each request as the test says; it is told how many requests of the same kind came before.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped, answer) = (Arc::clone(&requests), Arc::clone(&stop), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// An endpoint with nothing wrong.
    pub(crate) fn of(files: Files) -> Self {
        Self::start(move |request, _| healthy(&files, request))
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    /// From which bytes on content was asked for, in order.
    pub(crate) fn ranges(&self) -> Vec<usize> {
        self.requests().iter().filter(|request| request.is_content()).map(Request::from).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request, usize) -> Answer) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let Some(request) = read(&stream) else { return };
    let before = {
        let mut seen = seen.lock().expect("no panic");
        let same = |other: &&Request| other.method == request.method && other.path == request.path;
        let before = seen.iter().filter(same).count();
        seen.push(request.clone());
        before
    };
    let answer = answer(&request, before);
    std::thread::sleep(answer.pause);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = if request.method == "HEAD" { &[][..] } else { &answer.body[..answer.sent] };
    // The client may have gone, which is its right.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0; 16]);
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    Some(Request { method, path, headers })
}
