//! `sconce serve`: store, engine and server in one process, until a signal.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use sconce_engine::{EngineEnd, EngineHandle, EngineThread};
use sconce_server::{AppState, ServerOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::ServeArguments;
use crate::out::announce;
use crate::{library, model};

/// The exit status when the device is lost (`EX_IOERR` of sysexits.h): the device, not the command line, needs attention.
const DEVICE_LOST: u8 = 74;

/// Serves until Ctrl-C or SIGTERM, or until the engine ends by itself; then drains.
pub(crate) fn run(mut arguments: ServeArguments) -> Result<ExitCode> {
    arguments.model.or_demo();
    let arguments = &arguments;
    let samples = !arguments.no_sample_corpus;
    let open = if samples { library::open_with_samples } else { library::open_without_samples };
    let library = open(&arguments.library)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    // Before the model, whose loading may take long: a port that is taken is said at once.
    let (host, port) = (arguments.host.as_str(), arguments.port);
    let listener = runtime
        .block_on(TcpListener::bind((host, port)))
        .with_context(|| format!("{host}:{port} cannot be listened on; choose another with --host and --port"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let started = model::for_serving(arguments)?;
    let (engine, thread) = started.map_or((None, None), |(engine, thread)| (Some(engine), Some(thread)));
    let options = options(arguments);
    if !address.ip().is_loopback() && options.api_key.is_none() {
        tracing::warn!(
            "{address} is open to other machines, and everybody may use and change what is here: give it an --api-key"
        );
    }
    let is_demo = arguments.model.is_demo();
    let hint = curl_hint(&library, engine.is_some() && !is_demo, options.api_key.is_some())?;
    let store_path = library.path.clone();
    let state = AppState::new(engine.clone(), Arc::new(library.store), options);
    runtime.block_on(async {
        // Signals are caught before anybody is told that the server is there.
        let shutdown = Signals::catch()?.first(engine.clone());
        greet(address, engine.as_ref(), is_demo, &store_path, &hint);
        sconce_server::serve(listener, state, shutdown).await.context("the server failed")
    })?;
    drop(engine);
    match thread.map_or(EngineEnd::Finished, EngineThread::join) {
        EngineEnd::Finished => {
            announce!("Drained; goodbye.");
            Ok(ExitCode::SUCCESS)
        }
        EngineEnd::DeviceLost => {
            eprintln!("error: {}", EngineEnd::DeviceLost);
            Ok(ExitCode::from(DEVICE_LOST))
        }
        end => anyhow::bail!("{end}"),
    }
}

fn options(arguments: &ServeArguments) -> ServerOptions {
    ServerOptions {
        api_key: arguments.api_key.clone(),
        cors: arguments.cors,
        hosts: arguments.allow_host.iter().chain([&arguments.host]).cloned().collect(),
        ..ServerOptions::for_requests(usize::from(arguments.serving.max_requests))
    }
}

/// What to type next: a text to complete only where the model can. A key shows as the variable that may hold it, never as itself.
fn curl_hint(library: &library::Library, completes: bool, has_key: bool) -> Result<Vec<String>> {
    let stores = library::vector_stores(&library.store)?;
    let key = if has_key { " -H \"Authorization: Bearer $SCONCE_API_KEY\"" } else { "" };
    let mut hint = Vec::new();
    if completes {
        hint.push(format!("curl {{base}}/v1/completions -H 'Content-Type: application/json'{key} \\\n    -d '{{\"prompt\": \"Once upon a time\", \"max_tokens\": 32, \"temperature\": 0}}'"));
    }
    let filled = stores.iter().find(|store| store.file_counts.completed > 0);
    if filled.is_none() {
        hint.push("sconce ingest FOLDER    # documents to ask about".to_owned());
    }
    if let Some(first) = filled {
        let question = if first.name == library::SAMPLE_STORE {
            "What does an AI Solutions Architect do?".to_owned()
        } else {
            format!("What are the duties of {}?", library::a_title(&library.store, &first.id)?.unwrap_or("them".into()))
        };
        hint.push(format!(
            "curl {{base}}/v1/responses -H 'Content-Type: application/json'{key} \\\n    -d '{{\"input\": \"{question}\", \"tools\": [{{\"type\": \"file_search\", \"vector_store_ids\": [\"{}\"]}}]}}'",
            first.id
        ));
    }
    Ok(hint)
}

/// How to get a model of another size.
const OTHERS: &str = "`sconce pull llama-3.2-1b-instruct` fetches a larger one, and any\n             \
    GGUF file or safetensors folder of Llama's kin will do: sconce serve --model NAME-or-FILE";

fn greet(address: SocketAddr, engine: Option<&EngineHandle>, is_demo: bool, store: &std::path::Path, hint: &[String]) {
    announce!("Sconce listens on http://{address}");
    announce!("  documents  {}", store.display());
    match engine {
        Some(engine) => {
            announce!("  model      {}", engine.model().id);
            if is_demo {
                announce!("             small, and trained for nothing but questions about roles. {OTHERS}");
            }
            if engine.chat_template().is_none() {
                announce!(
                    "             it has no chat template, so that only completions and quotes work; --chat-template FILE gives it one"
                );
            }
        }
        None => announce!("  model      none: search and quoted answers only. {OTHERS}"),
    }
    announce!("Try:");
    for line in hint {
        announce!("  {}", line.replace("{base}", &format!("http://{address}")));
    }
    announce!("Ctrl-C lets running answers end, for 30 s at most; a second one ends them.");
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("signals cannot be caught");
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Resolves at the first signal, which drains; a second one ends what still runs.
    async fn first(mut self, engine: Option<EngineHandle>) {
        self.next().await;
        eprintln!("draining; once more ends running answers");
        tokio::spawn(async move {
            self.next().await;
            match engine {
                Some(engine) => engine.cut(),
                None => std::process::exit(130),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command};
    use clap::Parser;

    fn parsed(arguments: &[&str]) -> ServerOptions {
        let arguments = Arguments::parse_from(["sconce", "serve"].iter().chain(arguments));
        let Command::Serve(arguments) = arguments.command else { unreachable!("it says serve") };
        options(&arguments)
    }

    #[test]
    fn the_server_lets_the_engine_fill_up() {
        for requests in ["1", "256", "1000"] {
            let options = parsed(&["--max-requests", requests]);
            assert!(options.max_concurrent_requests > requests.parse().expect("a number"), "{requests}");
            assert!(options.max_connections > options.max_concurrent_requests, "{requests}");
        }
    }

    #[test]
    fn the_host_that_is_listened_on_may_be_asked_for_by_its_name() {
        assert_eq!(parsed(&["--host", "roles.lan"]).hosts, ["roles.lan"]);
        let named = parsed(&["--host", "0.0.0.0", "--allow-host", "sconce", "--allow-host", "roles.lan"]);
        assert_eq!(named.hosts, ["sconce", "roles.lan", "0.0.0.0"]);
    }
}
