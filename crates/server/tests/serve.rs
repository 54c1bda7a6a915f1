//! The accept loop over real sockets: drain, slow headers, broken clients. Nothing here asserts a duration.

mod common;

use common::*;
use sconce_server::{ServerOptions, serve};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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

async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_shutdown_ends_idle_connections_and_then_the_server() {
    let (address, stop, server) = start(ServerOptions::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut client, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let mut idle = TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap();
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or(0), 0, "the idle connection is closed");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_in_progress_is_answered_during_the_drain() {
    let (address, stop, server) = start(ServerOptions::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let head =
        "POST /v1/vector_stores HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{";
    client.write_all(head.as_bytes()).await.unwrap();
    // A second connection that is answered shows that the first was accepted before it.
    let mut second = TcpStream::connect(address).await.unwrap();
    ask(&mut second, HEALTH).await;
    stop.send(()).unwrap();
    let answer = ask(&mut client, "}").await;
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 503"), "{answer}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_finishes_its_headers_is_cut() {
    let options = ServerOptions { header_timeout: Duration::from_millis(50), ..ServerOptions::default() };
    let (address, _stop, _server) = start(options).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHo").await.unwrap();
    let mut rest = Vec::new();
    // Ends only because the server closes the connection.
    let _ = slow.read_to_end(&mut rest).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut client, HEALTH).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_408() {
    let options = ServerOptions { body_timeout: Duration::from_millis(50), ..ServerOptions::default() };
    let (address, _stop, _server) = start(options).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let request = "POST /v1/vector_stores HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
                   Content-Length: 100\r\n\r\n{";
    let answer = ask(&mut slow, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn noise_instead_of_http_is_answered_with_400_and_the_server_goes_on() {
    let (address, _stop, _server) = start(ServerOptions::default()).await;
    for noise in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1} tls?\r\n\r\n"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let answer = ask(&mut client, noise).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let mut client = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut client, HEALTH).await.starts_with("HTTP/1.1 200"));
}
