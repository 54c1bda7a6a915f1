//! `POST /v1/vector_stores/{store}/search`.

use super::documents::searched;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::openai::vector_stores::{HitExtension, SearchHit, SearchPage, TextContent};
use crate::path::PathIds;
use crate::state::AppState;
use crate::validate::documents::{DEFAULT_RESULTS, ValidSearch, queries};
use axum::Json;
use axum::extract::State;
use sconce_rag::{Hit, SearchOptions};

/// Searches one store. Several queries are searched as one: a chunk that matches more of their words ranks higher.
pub(crate) async fn create(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
    body: JsonBody,
) -> Result<Json<SearchPage>, ApiError> {
    let (queries, search) = body.read(|fields| Ok((queries(fields)?, ValidSearch::parse(fields)?)))?;
    let options = options(search);
    let query = queries.join("\n");
    let hits = searched(&state, move |store| store.search(&[&id], &query, &options));
    let data = hits.await?.into_iter().map(hit).collect();
    Ok(Json(SearchPage {
        object: "vector_store.search_results.page",
        search_query: queries,
        data,
        has_more: false,
        next_page: None,
    }))
}

/// The search as the store takes it.
pub(crate) fn options(search: ValidSearch) -> SearchOptions {
    SearchOptions {
        max_num_results: search.max_num_results.unwrap_or(DEFAULT_RESULTS) as usize,
        filters: search.filters,
        score_threshold: search.score_threshold.unwrap_or(0.0),
    }
}

fn hit(hit: Hit) -> SearchHit {
    SearchHit {
        file_id: hit.file_id,
        filename: hit.filename,
        score: hit.score,
        attributes: hit.attributes,
        content: vec![TextContent { kind: "text", text: hit.text }],
        sconce: HitExtension {
            title: hit.title,
            section: hit.section,
            chunk_id: hit.chunk_id.to_string(),
            source_span: [hit.span.start, hit.span.end],
        },
    }
}
