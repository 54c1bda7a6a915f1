//! `GET /v1/models` and `/v1/models/{id}`.

use crate::error::ApiError;
use crate::openai::models::{Model, ModelList};
use crate::path::PathIds;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;

/// The model under its id and its aliases; empty without a model.
pub(crate) async fn list(State(state): State<AppState>) -> Json<ModelList> {
    let data = match &state.engine {
        Some(engine) => {
            let id = &engine.model().id;
            let aliases = state.options.aliases.iter().filter(|alias| *alias != id);
            std::iter::once(id).chain(aliases).filter_map(|name| named(&state, name)).collect()
        }
        None => Vec::new(),
    };
    Json(ModelList { object: "list", data })
}

/// One model by its id or an alias.
pub(crate) async fn one(
    State(state): State<AppState>,
    PathIds(name): PathIds<String>,
) -> Result<Json<Model>, ApiError> {
    match &state.engine {
        Some(engine) => state.check_model(engine.model(), Some(&name))?,
        None => return Err(ApiError::model_not_found(&name, "no model loaded")),
    }
    named(&state, &name).map(Json).ok_or_else(ApiError::no_model)
}

fn named(state: &AppState, name: &str) -> Option<Model> {
    let model = state.engine.as_ref()?.model();
    Some(Model {
        id: name.to_owned(),
        object: "model",
        created: model.created,
        owned_by: "sconce",
        max_model_len: model.context_length,
    })
}
