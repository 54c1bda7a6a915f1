//! Answers with citations: candidates, then a generated text that passes its check, or else verbatim sentences, or else the
//! statement that the documents do not tell. Here is the order of things and the last check of every citation against the
//! stored source; choosing, prompting and checking are in the files beside. No model lives here.

mod check;
mod prompt;
mod quote;
mod sources;
mod support;
mod verbatim;

use std::ops::Range;

use serde::Serialize;

use crate::retrieve::{Found, Hit};
use crate::store::Store;
use crate::{Filter, RagError, Result, SearchOptions};

use sources::Sources;

pub use prompt::{AnswerPrompt, Passage, REFUSAL};

/// The text of an answer when the documents do not tell.
pub const NOT_TOLD: &str = "The documents do not tell.";

/// Hits that are looked through for quotes where the request does not say.
const QUOTED_HITS: usize = 20;

/// Writes an answer from numbered passages: a chat model, seen from here.
pub trait Generator {
    /// The answer's text, which is then checked against the passages.
    ///
    /// # Errors
    /// [`GeneratorError`] when there is none; the answer is quoted then.
    fn generate(&self, prompt: &AnswerPrompt) -> std::result::Result<String, GeneratorError>;

    /// How many passages it reads well, where it is known for fewer than [`AnswerOptions::max_passages`].
    fn max_passages(&self) -> Option<usize> {
        None
    }

    /// Whether it was trained to answer in the passages' own words, so that a sentence in others is a slip, and no answer.
    fn copies(&self) -> bool {
        false
    }
}

/// Why a generator gave no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model gave no answer: {reason}")]
pub struct GeneratorError {
    /// In words, for the record.
    pub reason: String,
}

/// How an answer is made.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    /// Vector stores that may answer: 1 to 16.
    pub store_ids: Vec<String>,
    /// Only files whose attributes pass.
    pub filters: Option<Filter>,
    /// Passages given to the generator: 1 to 20.
    pub max_passages: usize,
    /// Sentences of a quoted answer: 1 to 10.
    pub max_quotes: usize,
    /// Below this score of the best passage the documents do not tell: 0 to 1. A `score_threshold` takes its place.
    pub min_score: f64,
    /// Hits that are looked at, cited and returned at most: 1 to 50. `None` looks at as many as make a good answer.
    pub max_num_results: Option<usize>,
    /// Hits below this score are not looked at, cited or returned: 0 to 1.
    pub score_threshold: Option<f64>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self {
            store_ids: Vec::new(),
            filters: None,
            max_passages: 8,
            max_quotes: 3,
            min_score: 0.3,
            max_num_results: None,
            score_threshold: None,
        }
    }
}

impl AnswerOptions {
    fn check(&self) -> Result<()> {
        let range = |field: &str, value: usize, most: usize| match value {
            value if value >= 1 && value <= most => Ok(()),
            value => Err(RagError::invalid(field, format!("{value} is not between 1 and {most}"))),
        };
        range("max_passages", self.max_passages, 20)?;
        range("max_quotes", self.max_quotes, 10)?;
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(RagError::invalid("min_score", format!("{} is not between 0 and 1", self.min_score)));
        }
        Ok(())
    }
}

/// How an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// A generator wrote it, and each sentence passed its check.
    Generated,
    /// It is made of verbatim sentences.
    Quoted,
    /// The documents do not tell.
    NotFound,
}

/// Why an answer was not generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FallbackReason {
    /// There is no generator.
    NoGenerator,
    /// The generator gave no text.
    GeneratorFailed {
        /// Its reason.
        reason: String,
    },
    /// The generator said that the passages do not tell.
    Refused,
    /// The generated text failed its check.
    Unsupported {
        /// Which sentence, and what is wrong with it.
        problem: String,
    },
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What to show. `[n]` refers to the citations with that number.
    pub text: String,
    /// How it came about.
    pub route: Route,
    /// In the order of the text; each was compared with the stored source. Empty when the documents do not tell.
    pub citations: Vec<Citation>,
    /// Why it was not generated; `None` for a generated one, and where nothing was found to generate from.
    pub fallback: Option<FallbackReason>,
    /// The chunks that were looked at, best first.
    pub hits: Vec<Hit>,
}

/// A statement of the answer with the place of the source that says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Citation {
    /// The `n` of `[n]`. Several citations of a generated answer may share one: they come from the same passage.
    pub number: usize,
    /// Id of the file.
    pub file_id: String,
    /// Name of the file.
    pub filename: String,
    /// Version of the document.
    pub version: u64,
    /// Title of the document.
    pub title: String,
    /// Headings above the quote, joined by ` › `.
    pub section: String,
    /// Where the document was published, if it says so.
    pub source: Option<String>,
    /// The date that the document gives itself.
    pub date: Option<String>,
    /// The words of the source: its bytes at `source_span`.
    pub quote: String,
    /// Byte range of the stored source text.
    pub source_span: Range<usize>,
    /// Byte range of [`Answer::text`] that the quote supports; in a quoted answer it is the quote itself.
    pub answer_span: Range<usize>,
}

/// A statement that is not yet compared with the source: `hit` indexes the hits.
struct Claim {
    number: usize,
    hit: usize,
    source_span: Range<usize>,
    answer_span: Range<usize>,
}

/// Answers `question` from the documents of the named vector stores.
///
/// # Errors
/// Those of [`Store::search`], and [`RagError::Invalid`] for `max_passages`, `max_quotes` or `min_score`. A generator that
/// fails is no error: the answer is quoted, and says why.
pub fn answer(
    store: &Store,
    question: &str,
    options: &AnswerOptions,
    generator: Option<&dyn Generator>,
) -> Result<Answer> {
    options.check()?;
    let store_ids: Vec<&str> = options.store_ids.iter().map(String::as_str).collect();
    let search = SearchOptions {
        max_num_results: options.max_num_results.unwrap_or(options.max_passages.max(QUOTED_HITS)),
        filters: options.filters.clone(),
        score_threshold: options.score_threshold.unwrap_or(0.0),
    };
    let mut found = store.find(&store_ids, question, &search)?;
    if is_too_far(&found.hits, options) {
        return Ok(not_told(found.hits, None));
    }
    let readable = generator.and_then(Generator::max_passages).unwrap_or(usize::MAX).max(1);
    let passages = options.max_passages.min(readable).min(found.hits.len());
    let mut written = match generator {
        None => Err(FallbackReason::NoGenerator),
        Some(generator) => generated(question, &found, passages, generator),
    };
    // Generating takes long. What went meanwhile is dropped, and the citations are made, in one look at the store.
    store.read(|connection| {
        let mut sources = Sources::open(connection, options)?;
        if generator.is_some() && !sources.all_answer(&found.hits[..passages])? {
            let problem = "a passage has changed or is gone since it was found".to_owned();
            written = Err(FallbackReason::Unsupported { problem });
        }
        let fallback = match written {
            Ok(written) => match sources.citations(&written.claims, &found.hits)? {
                Ok(citations) => {
                    let hits = sources.remaining(found.hits)?;
                    return Ok(Answer { text: written.text, route: Route::Generated, citations, fallback: None, hits });
                }
                Err(problem) => FallbackReason::Unsupported { problem },
            },
            Err(reason) => reason,
        };
        found.hits = sources.remaining(found.hits)?;
        quoted(&mut sources, found, options, fallback)
    })
}

/// Whether even the best hit is too far from the question to answer it.
fn is_too_far(hits: &[Hit], options: &AnswerOptions) -> bool {
    hits.first().is_none_or(|best| best.score < options.score_threshold.unwrap_or(options.min_score))
}

fn not_told(hits: Vec<Hit>, fallback: Option<FallbackReason>) -> Answer {
    Answer { text: NOT_TOLD.to_owned(), route: Route::NotFound, citations: Vec::new(), fallback, hits }
}

/// A generated text that passed its check.
struct Written {
    text: String,
    claims: Vec<Claim>,
}

/// The generated text, or why there is none.
fn generated(
    question: &str,
    found: &Found,
    passages: usize,
    generator: &dyn Generator,
) -> std::result::Result<Written, FallbackReason> {
    let hits = &found.hits[..passages];
    let (prompt, order) = prompt::build(question, hits);
    let text = match generator.generate(&prompt) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => return Err(FallbackReason::GeneratorFailed { reason: error.reason }),
    };
    if prompt::is_refusal(&text) {
        return Err(FallbackReason::Refused);
    }
    let supported = || {
        if !generator.copies() {
            return check::check(&text, hits, &order);
        }
        verbatim::copies(&text, hits, &order)?;
        let claims = check::check(&text, hits, &order)?;
        if quote::is_near_best(found, &claims) {
            Ok(claims)
        } else {
            Err("nothing that it says is near enough to the question".to_owned())
        }
    };
    match supported() {
        Ok(claims) => Ok(Written { text, claims }),
        Err(problem) => Err(FallbackReason::Unsupported { problem }),
    }
}

/// The answer made of verbatim sentences.
fn quoted(
    sources: &mut Sources<'_>,
    found: Found,
    options: &AnswerOptions,
    fallback: FallbackReason,
) -> Result<Answer> {
    if is_too_far(&found.hits, options) {
        return Ok(not_told(found.hits, Some(fallback)));
    }
    let mut text = String::new();
    let mut citations = Vec::new();
    for quote in quote::choose(&found, options.max_quotes) {
        let mut claim =
            Claim { number: citations.len() + 1, hit: quote.hit, source_span: quote.span.clone(), answer_span: 0..0 };
        let Some(citation) = sources.citation(&claim, &found.hits)? else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        if quote.needs_title {
            text.push_str(&citation.title);
            text.push_str(": ");
        }
        text.push('“');
        let start = text.len();
        text.push_str(&citation.quote);
        claim.answer_span = start..text.len();
        text.push_str(&format!("” [{}]", claim.number));
        citations.push(Citation { answer_span: claim.answer_span, ..citation });
    }
    if citations.is_empty() {
        return Ok(not_told(found.hits, Some(fallback)));
    }
    Ok(Answer { text, route: Route::Quoted, citations, fallback: Some(fallback), hits: found.hits })
}
