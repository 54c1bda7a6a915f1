//! The accept loop over real sockets: drain, slow headers, broken clients. Nothing here asserts a duration.

mod common;

use common::*;
use sconce_server::{ServerOptions, serve};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

async fn start(options: ServerOptions) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        serve(listener, state_with(options), shutdown).await.unwrap();
    });
    (address, stop, server)
}

/// Connects and sends; the answer is read by [`rest`].
async fn sent(address: SocketAddr, text: &'static str) -> TcpStream {
    let send = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    spawn_blocking(send).await.unwrap()
}

/// What arrives until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let read = move || {
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    spawn_blocking(read).await.unwrap()
}

async fn ask(address: SocketAddr, text: &'static str) -> String {
    rest(sent(address, text).await).await
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_shutdown_ends_idle_connections_and_then_the_server() {
    let (address, stop, server) = start(ServerOptions::default()).await;
    let idle = sent(address, "").await;
    let answer = ask(address, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    stop.send(()).unwrap();
    server.await.unwrap();
    assert_eq!(rest(idle).await, "", "the idle connection is closed");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_in_progress_is_answered_during_the_drain() {
    let (address, stop, server) = start(ServerOptions::default()).await;
    let head = "POST /v1/vector_stores HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{";
    let mut client = sent(address, head).await;
    // A second connection that is answered shows that the first was accepted before it.
    ask(address, HEALTH).await;
    stop.send(()).unwrap();
    client.write_all(b"}").unwrap();
    let answer = rest(client).await;
    // Whether its head was read before the drain began is a race; either way it hears.
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 503"), "{answer}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_finishes_its_headers_is_cut() {
    let options = ServerOptions { header_timeout: Duration::from_millis(50), ..ServerOptions::default() };
    let (address, _stop, _server) = start(options).await;
    // Ends only because the server closes the connection.
    let answer = ask(address, "GET /health HTTP/1.1\r\nHo").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(ask(address, HEALTH).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_408() {
    let options = ServerOptions { body_timeout: Duration::from_millis(50), ..ServerOptions::default() };
    let (address, _stop, _server) = start(options).await;
    let request = "POST /v1/vector_stores HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                   Content-Length: 100\r\n\r\n{";
    let answer = ask(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn noise_instead_of_http_is_answered_with_400_and_the_server_goes_on() {
    let (address, _stop, _server) = start(ServerOptions::default()).await;
    for noise in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1} tls?\r\n\r\n"] {
        let answer = ask(address, noise).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(ask(address, HEALTH).await.starts_with("HTTP/1.1 200"));
}
