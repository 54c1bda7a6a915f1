//! The last look at the store before an answer leaves: which hits may still answer, and the citations, each compared with
//! the stored source. All of it in one snapshot; chooses nothing and writes no text.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{AnswerOptions, Citation, Claim};
use crate::Result;
use crate::retrieve::{Gate, Hit};
use crate::store::{CHUNK_BITS, SourceDocument, read_source};

/// One snapshot of the store, with the documents that were read from it, once each.
pub(super) struct Sources<'a> {
    connection: &'a Connection,
    gate: Gate<'a>,
    read: HashMap<String, Option<SourceDocument>>,
}

impl<'a> Sources<'a> {
    /// Looks with the eyes of the same stores and filters as the search. A vector store that is gone holds nothing.
    pub(super) fn open(connection: &'a Connection, options: &'a AnswerOptions) -> Result<Self> {
        let gate = Gate::of_present(connection, &options.store_ids, options.filters.as_ref())?;
        Ok(Self { connection, gate, read: HashMap::new() })
    }

    /// Whether every hit may still answer. A document that was ingested anew has another number, so the old text may not.
    pub(super) fn all_answer(&mut self, hits: &[Hit]) -> Result<bool> {
        for hit in hits {
            if !self.answers(hit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The hits that may still answer.
    pub(super) fn remaining(&mut self, hits: Vec<Hit>) -> Result<Vec<Hit>> {
        let mut remaining = Vec::with_capacity(hits.len());
        for hit in hits {
            if self.answers(&hit)? {
                remaining.push(hit);
            }
        }
        Ok(remaining)
    }

    fn answers(&mut self, hit: &Hit) -> Result<bool> {
        self.gate.admits(hit.chunk_id >> CHUNK_BITS)
    }

    /// The citations of all claims, or which passage cannot be cited any more.
    pub(super) fn citations(
        &mut self,
        claims: &[Claim],
        hits: &[Hit],
    ) -> Result<std::result::Result<Vec<Citation>, String>> {
        let mut citations = Vec::with_capacity(claims.len());
        for claim in claims {
            match self.citation(claim, hits)? {
                Some(citation) => citations.push(citation),
                None => return Ok(Err(format!("passage {} has changed or is gone", claim.number))),
            }
        }
        Ok(Ok(citations))
    }

    /// The citation of a claim, if its hit may still answer and the stored source says at the span what the hit said there.
    pub(super) fn citation(&mut self, claim: &Claim, hits: &[Hit]) -> Result<Option<Citation>> {
        let Some(hit) = hits.get(claim.hit) else { return Ok(None) };
        if !self.answers(hit)? {
            return Ok(None);
        }
        if !self.read.contains_key(&hit.file_id) {
            self.read.insert(hit.file_id.clone(), read_source(self.connection, &hit.file_id)?);
        }
        let Some(Some(document)) = self.read.get(&hit.file_id) else { return Ok(None) };
        let Some(quote) = hit.slice(&claim.source_span) else { return Ok(None) };
        if document.text.get(claim.source_span.clone()) != Some(quote) {
            return Ok(None);
        }
        Ok(Some(Citation {
            number: claim.number,
            file_id: hit.file_id.clone(),
            filename: document.filename.clone(),
            version: document.version,
            title: document.title.clone(),
            section: hit.section.clone(),
            source: document.source.clone(),
            date: document.date.clone(),
            quote: quote.to_owned(),
            source_span: claim.source_span.clone(),
            answer_span: claim.answer_span.clone(),
        }))
    }
}
