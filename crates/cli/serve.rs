//! `sconce serve`: store, engine and server in one process, until a signal.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use sconce_server::{AppState, ServerOptions};
use tokio::net::TcpListener;

use crate::args::ServeArguments;
use crate::{library, model};

/// Serves until Ctrl-C or SIGTERM, then drains.
pub(crate) fn run(arguments: &ServeArguments) -> Result<()> {
    let library = if arguments.no_sample_corpus {
        library::open(&arguments.library)
    } else {
        library::open_with_samples(&arguments.library)
    };
    let library = library?;
    let started = model::start(&arguments.model)?;
    let (engine, thread) = started.map_or((None, None), |(engine, thread)| (Some(engine), Some(thread)));
    let options =
        ServerOptions { api_key: arguments.api_key.clone(), cors: arguments.cors, ..ServerOptions::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    let address = SocketAddr::new(arguments.host, arguments.port);
    let hint = curl_hint(&library, engine.is_some())?;
    let store_path = library.path.clone();
    let state = AppState::new(engine.clone(), Arc::new(library.store), options);
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{address} cannot be listened on; choose another with --port"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        greet(address, engine.as_ref().map(|engine| engine.model().id.as_str()), &store_path, &hint);
        sconce_server::serve(listener, state, shutdown_signal()).await.context("the server failed")
    })?;
    drop(engine);
    if let Some(thread) = thread {
        anyhow::ensure!(thread.join(), "the engine thread panicked; its last words are in the log above");
    }
    println!("Drained; goodbye.");
    Ok(())
}

/// What to type next.
fn curl_hint(library: &library::Library, has_model: bool) -> Result<Vec<String>> {
    let stores = library::vector_stores(&library.store)?;
    let mut hint = Vec::new();
    if has_model {
        hint.push("curl {base}/v1/completions -H 'Content-Type: application/json' \\\n    -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 32, \"temperature\": 0}'".to_owned());
    }
    if let Some(first) = stores.first() {
        let question = if first.name == library::SAMPLE_STORE {
            "What does an AI Solutions Architect do?"
        } else {
            "What does this role do?"
        };
        hint.push(format!(
            "curl {{base}}/v1/responses -H 'Content-Type: application/json' \\\n    -d '{{\"input\": \"{question}\", \"tools\": [{{\"type\": \"file_search\", \"vector_store_ids\": [\"{}\"]}}]}}'",
            first.id
        ));
    }
    Ok(hint)
}

fn greet(address: SocketAddr, model: Option<&str>, store: &std::path::Path, hint: &[String]) {
    println!("Sconce listens on http://{address}");
    println!("  documents  {}", store.display());
    match model {
        Some(id) => println!("  model      {id}"),
        None => println!(
            "  model      none: search and quoted answers only. Any Llama or Mistral GGUF file will do, for instance from\n             \
             huggingface.co (search for \"Llama 3.1 8B Instruct GGUF\"): sconce serve --model FILE.gguf"
        ),
    }
    println!("Try:");
    for line in hint {
        println!("  {}", line.replace("{base}", &format!("http://{address}")));
    }
    println!("Ctrl-C drains and ends.");
}

/// Resolves at Ctrl-C or SIGTERM.
async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        match terminate {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be caught; Ctrl-C still ends the server");
                let _ = interrupt.await;
            }
        }
    }
    #[cfg(not(unix))]
    let _ = interrupt.await;
}
