//! Batches of files that were attached lately, for clients that ask for one again. They live in memory: the files stay in
//! their vector store when the process ends, and the batch is forgotten.

use crate::openai::vector_stores::FileBatch;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Batches that are remembered; each is a few hundred bytes, and up to 500 ids of files.
const MAX_BATCHES: usize = 1024;

/// A batch that has ended.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What its request was answered with.
    pub(crate) answer: FileBatch,
    /// Its files in the order in which they were attached.
    pub(crate) file_ids: Vec<String>,
}

/// The latest [`MAX_BATCHES`] batches, oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentBatches(Mutex<VecDeque<Arc<Batch>>>);

impl RecentBatches {
    /// Remembers a batch; the oldest is forgotten for it when there are too many.
    pub(crate) fn remember(&self, batch: Batch) {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if batches.len() == MAX_BATCHES {
            batches.pop_front();
        }
        batches.push_back(Arc::new(batch));
    }

    /// The batch with this id in this vector store.
    pub(crate) fn find(&self, store_id: &str, id: &str) -> Option<Arc<Batch>> {
        let batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = |batch: &&Arc<Batch>| batch.answer.id == id && batch.answer.vector_store_id == store_id;
        batches.iter().find(is_asked).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::vector_stores::FileCounts;

    fn batch(id: &str) -> Batch {
        let answer = FileBatch {
            id: id.into(),
            object: "vector_store.files_batch",
            created_at: 0,
            vector_store_id: "vs_1".into(),
            status: "completed",
            file_counts: FileCounts::default(),
        };
        Batch { answer, file_ids: Vec::new() }
    }

    #[test]
    fn the_oldest_is_forgotten_and_stores_are_told_apart() {
        let recent = RecentBatches::default();
        (0..=MAX_BATCHES).for_each(|number| recent.remember(batch(&number.to_string())));
        assert!(recent.find("vs_1", "0").is_none());
        assert!(recent.find("vs_1", "1").is_some() && recent.find("vs_1", &MAX_BATCHES.to_string()).is_some());
        assert!(recent.find("vs_2", "1").is_none());
    }
}
