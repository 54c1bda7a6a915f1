//! The accept loop: bounded connections, a bound on slow headers and on clients that stop reading, and a drain in which running answers end.
//! What a request means is decided by the router.

use crate::router::router;
use crate::stall::StallGuard;
use crate::state::AppState;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sconce_engine::EngineHandle;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Time between two tries when the system refuses to accept (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time that answers get to carry the engine's last words after the drain is cut short.
const CUT_GRACE: Duration = Duration::from_secs(2);

/// Time that connections get to carry an engine's last words when it ended by itself.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until `shutdown` resolves or the engine has ended by itself, then drains: nothing new is accepted, running
/// answers end or are cut after `drain_timeout`; after the engine's end everything has five seconds at most.
///
/// # Errors
/// None today; a listener that fails for good would be one.
pub async fn serve(listener: TcpListener, state: AppState, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let service = router(state.clone());
    let places = Arc::new(Semaphore::new(state.options.max_connections));
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut engine_end = pin!(engine_end(state.engine.clone()));
    let drain_timeout = loop {
        // Ended connections are collected here, so that the set does not grow with the server's age.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => break state.options.drain_timeout,
            () = &mut engine_end => break LAST_WORDS.min(state.options.drain_timeout),
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let connection = Connection {
            header_timeout: state.options.header_timeout,
            write_timeout: state.options.write_timeout,
            closed: closed.clone(),
        };
        let service = TowerToHyperService::new(service.clone());
        // Small events must not wait for more of them. A socket that cannot do this is still served.
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            connection.run(stream, service).await;
            drop(place);
        });
    };
    drop(listener);
    tracing::info!(connections = connections.len(), "draining");
    state.begin_drain();
    // The receivers may all be gone already; then there is nobody to tell.
    let _ = closing.send(true);
    drain(&state, &mut connections, drain_timeout).await;
    Ok(())
}

/// Resolves when the engine has ended; never when there is none.
async fn engine_end(engine: Option<EngineHandle>) {
    match engine {
        Some(engine) => {
            let end = engine.ended().await;
            tracing::error!(reason = %end, "the engine has ended, and with it this server");
        }
        None => std::future::pending().await,
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "accepting a connection failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn drain(state: &AppState, connections: &mut JoinSet<()>, within: Duration) {
    let all_ended = async |connections: &mut JoinSet<()>| {
        while connections.join_next().await.is_some() {}
        // What was begun for a client that has gone is not left half done.
        state.ingest_lane().emptied().await;
    };
    if tokio::time::timeout(within, all_ended(connections)).await.is_ok() {
        return;
    }
    tracing::warn!(connections = connections.len(), "the drain time is over; cutting what still runs");
    if let Some(engine) = &state.engine {
        engine.cut();
    }
    if tokio::time::timeout(CUT_GRACE, all_ended(connections)).await.is_err() {
        connections.shutdown().await;
    }
}

struct Connection {
    header_timeout: Duration,
    write_timeout: Duration,
    closed: watch::Receiver<bool>,
}

impl Connection {
    async fn run(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, service: TowerToHyperService<axum::Router>) {
        let stream = TokioIo::new(StallGuard::new(stream, self.write_timeout));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.header_timeout);
        let mut connection = pin!(builder.serve_connection(stream, service));
        // A sender that is gone means the same as one that says so. The guard must not live across an await.
        let closing = async { drop(self.closed.wait_for(|closing| *closing).await) };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ServerOptions;
    use sconce_rag::{NewFile, Store};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_client_that_stops_reading_loses_its_connection_and_its_place() {
        let write_timeout = Duration::from_millis(50);
        let options = ServerOptions { write_timeout, max_concurrent_requests: 1, ..ServerOptions::default() };
        let state = AppState::new(None, Arc::new(Store::in_memory().unwrap()), options);
        let new = NewFile { filename: "a.txt", bytes: &[b'a'; 1 << 20], purpose: "assistants" };
        let file = state.store.create_file(&new).unwrap();
        // A pipe that holds less than the answer.
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let (_closing, closed) = watch::channel(false);
        let connection = Connection { header_timeout: Duration::from_secs(15), write_timeout, closed };
        let running = tokio::spawn(connection.run(server, TowerToHyperService::new(router(state.clone()))));
        let request = format!("GET /v1/files/{}/content HTTP/1.1\r\nHost: localhost\r\n\r\n", file.id);
        client.write_all(request.as_bytes()).await.unwrap();
        client.read_u8().await.unwrap();
        // The client stays and reads no more: only the server can end this.
        running.await.unwrap();
        assert_eq!(state.requests().available_permits(), 1);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() < 1 << 20, "{}", rest.len());
    }
}
