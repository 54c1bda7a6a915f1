//! Models from a Hugging Face endpoint, in the cache that its other tools share (`models--org--name/{blobs,refs,snapshots}`).
//! What always holds: a blob has its final name only when its length, and where one is known its SHA-256, are those that were
//! promised; nothing is linked under `snapshots` before every file of the pull is such a blob; the token goes to the endpoint
//! and to no other host; every wait has an end.

mod cache;
mod catalog;
mod check;
mod client;
mod demo;
mod error;
mod limits;
mod listing;
mod names;
mod partial;
mod pick;
mod pull;
mod resolve;
mod settings;
mod transfer;
mod whole;

pub use cache::display_name;
pub use catalog::{CatalogModel, catalog};
pub use check::{Checked, Finding, check, check_file, recorded_sha256};
pub use demo::{DEMO_MODEL, demo_model};
pub use error::HubError;
pub use limits::Limits;
pub use names::{Repository, Source};
pub use partial::sha256_of;
pub use pull::{Event, Pulled, pull};
pub use resolve::{find, pulled_repositories};
pub use settings::{Settings, Token};
