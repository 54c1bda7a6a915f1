//! The binary, driven from outside: started as a process, spoken to over plain HTTP, ended by signals.
// Each test file uses its own part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A test never waits longer than this for the binary.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary with a data folder of its own.
pub(crate) fn sconce(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce"));
    command.env("SCONCE_HOME", data).env_remove("SCONCE_MODEL").env_remove("SCONCE_API_KEY").env("RUST_LOG", "warn");
    // The demo model is written once for all tests.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    // The models are tiny; more threads per server only fight the other tests.
    command.env("SCONCE_THREADS", "1");
    command
}

/// Runs the binary to its end.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    sconce(data).args(arguments).output().expect("the binary starts")
}

/// What a process wrote to standard output and standard error.
pub(crate) fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A folder of `SCONCE_DATA`, or `None` with a word about it.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("SCONCE_DATA") else {
        eprintln!("skipped: SCONCE_DATA is not set, so {path} cannot be found");
        return None;
    };
    Some(PathBuf::from(data).join(path))
}

/// A synthetic model of the shape `tiny` with room for 4,096 tokens, written once per folder.
pub(crate) fn tiny_model(folder: &Path) -> PathBuf {
    let file = folder.join("tiny.gguf");
    let path = file.to_str().expect("a UTF-8 path");
    let output = run(folder, &["synth", "--shape", "tiny", "--quantization", "q8_0", "--context", "4096", path]);
    assert!(output.status.success(), "{}", words(&output));
    file
}

/// A server as a process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// What it printed up to the line that ends its greeting.
    pub(crate) greeting: String,
}

impl Server {
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_as(sconce(data), arguments)
    }

    /// Starts a binary whose environment is set already.
    pub(crate) fn start_as(mut command: Command, arguments: &[&str]) -> Self {
        command.args(["serve", "--port", "0"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut greeting = String::new();
        loop {
            let line = lines.next().expect("it greets before it ends").expect("UTF-8");
            greeting += &line;
            greeting.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        let address =
            greeting.split("http://").nth(1).and_then(|rest| rest.lines().next()).expect("an address").to_owned();
        // What it prints later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, greeting }
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, None)
    }

    /// Posts JSON and reads JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.request("POST", path, Some(&body.to_string()));
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        (status, value)
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let mut stream = self.send(method, path, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        parse(&answer)
    }

    /// Sends a request and leaves the answer to the caller.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&str>) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let body = body.unwrap_or_default();
        let length = body.len();
        let host = &self.address;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("it reads");
        stream
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')));
        line.unwrap_or_else(|| panic!("no metric {name} in {text}")).parse().expect("a number")
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(self, signal: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it ends");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed leaves its server behind otherwise; one that ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of an HTTP/1.1 answer, chunked or not.
fn parse(answer: &[u8]) -> (u16, String) {
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..split]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut rest = &answer[split + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return (status, String::from_utf8_lossy(rest).into_owned());
    }
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&rest[..end]).trim(), 16).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    (status, String::from_utf8_lossy(&body).into_owned())
}
