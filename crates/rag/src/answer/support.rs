//! Which units of the cited passages say what a generated sentence says. A figure must stand in a unit that also supports the
//! words beside it; the other words may be gathered from a few units. Judges one sentence; knows no brackets and no store.

use std::collections::HashSet;
use std::ops::Range;

use super::Claim;
use super::check::Sentence;
use crate::analyze::{Word, words};
use crate::chunk::UnitKind;
use crate::retrieve::Hit;

/// Share of a sentence's content words that the units cited for it must hold, with what stands above them.
const LEAST_SUPPORT: f64 = 0.6;
/// Units that a sentence may be gathered from; the items of one list count as one.
const MAX_UNITS: usize = 3;
/// Words that begin another statement of the same sentence.
const CONJUNCTIONS: &[&str] = &["and", "but", "while", "whereas"];

/// A unit of a cited passage.
struct Piece {
    number: usize,
    hit: usize,
    span: Range<usize>,
    /// Stems of its own words.
    own: HashSet<String>,
    /// These, and those of what it is read with: title and headings, the head of its table, the sentence before its list.
    held: HashSet<String>,
    names_a_year: bool,
    /// The same for the items of one list, another one for everything else.
    run: usize,
}

/// The claims of a sentence over the hits that it cites (with their numbers), or what is wrong with it.
pub(super) fn claims_of(sentence: &Sentence, cited: &[(usize, usize)], hits: &[Hit]) -> Result<Vec<Claim>, String> {
    let said = words(&sentence.text);
    let pieces = pieces_of(cited, hits);
    let mut chosen: Vec<usize> = Vec::new();
    for at in (0..said.len()).filter(|at| said[*at].is_figure() && !is_year(&sentence.text, &said[*at])) {
        let home = home_of(&sentence.text, &said, at, &pieces, &chosen);
        let figure = &said[at].normal;
        let home = home.ok_or_else(|| {
            format!("no sentence of the passage with the figure {figure} says the rest of: {}", sentence.text)
        })?;
        if !chosen.contains(&home) {
            chosen.push(home);
        }
    }
    gather(sentence, &said, &pieces, &mut chosen)?;
    let claim = |index: &usize| {
        let Piece { number, hit, span, .. } = &pieces[*index];
        Claim { number: *number, hit: *hit, source_span: span.clone(), answer_span: sentence.span.clone() }
    };
    Ok(chosen.iter().map(claim).collect())
}

/// The units of the cited passages that can be quoted.
fn pieces_of(cited: &[(usize, usize)], hits: &[Hit]) -> Vec<Piece> {
    let stems = |text: &str| words(text).into_iter().map(|word| word.stem).collect::<HashSet<String>>();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut run = 0;
    for (number, hit) in cited {
        let above: HashSet<String> = stems(&hits[*hit].title).into_iter().chain(stems(&hits[*hit].section)).collect();
        // What introduces the rows or items that follow.
        let mut lead = HashSet::new();
        let mut previous = UnitKind::Sentence;
        for unit in &hits[*hit].units {
            let Some(slice) = hits[*hit].slice(&unit.span) else { continue };
            let own = stems(slice);
            let mut held: HashSet<String> = own.union(&above).cloned().collect();
            match unit.kind {
                UnitKind::Item | UnitKind::Row => held.extend(lead.iter().cloned()),
                UnitKind::TableHead if previous == UnitKind::Sentence => lead.extend(own.iter().cloned()),
                UnitKind::TableHead => lead = own.clone(),
                UnitKind::Sentence if slice.ends_with(':') => lead = own.clone(),
                UnitKind::Sentence => lead.clear(),
            }
            run += usize::from(!(unit.kind == UnitKind::Item && previous == UnitKind::Item));
            previous = unit.kind;
            if unit.kind != UnitKind::TableHead {
                let names_a_year = words(slice).iter().any(|word| is_year(slice, word));
                pieces.push(Piece {
                    number: *number,
                    hit: *hit,
                    span: unit.span.clone(),
                    own,
                    held,
                    names_a_year,
                    run,
                });
            }
        }
        run += 1;
    }
    pieces
}

/// The unit that states the figure at `at`: it holds the figure and most of what is said beside it. One that is chosen already
/// is preferred, then the one that says most of the sentence, then the first.
fn home_of(text: &str, said: &[Word], at: usize, pieces: &[Piece], chosen: &[usize]) -> Option<usize> {
    let states = |piece: &Piece| {
        let beside = &said[beside(text, said, at, piece)];
        // A year may stand elsewhere in the passage, unless the unit tells of another one.
        let is_elsewhere = |word: &Word| is_year(text, word) && !piece.own.contains(&word.stem);
        let (years, rest): (Vec<&Word>, Vec<&Word>) =
            beside.iter().filter(|word| !word.stop).partition(|word| is_elsewhere(word));
        piece.own.contains(&said[at].stem) && (years.is_empty() || !piece.names_a_year) && {
            let found = rest.iter().filter(|word| piece.held.contains(&word.stem)).count();
            is_enough(found, rest.len())
        }
    };
    let worth = |index: &usize| {
        let held = said.iter().filter(|word| !word.stop && pieces[*index].held.contains(&word.stem)).count();
        (chosen.contains(index), held, std::cmp::Reverse(*index))
    };
    (0..pieces.len()).filter(|index| states(&pieces[*index])).max_by_key(worth)
}

/// The words beside the figure at `at`: the whole sentence, or where other figures than the unit's stand in it, as far as the
/// statements that hold those. Two figures without a word of a new statement between them belong to one.
fn beside(text: &str, said: &[Word], at: usize, piece: &Piece) -> Range<usize> {
    let is_foreign = |index: &usize| {
        let word = &said[*index];
        word.is_figure() && !is_year(text, word) && !piece.own.contains(&word.stem)
    };
    let begins = |index: &usize| {
        let between = &text[said[*index - 1].range.end..said[*index].range.start];
        CONJUNCTIONS.contains(&said[*index].normal.as_str()) || between.contains([',', ';', ':', '(', ')', '—', '–'])
    };
    let says_something = |range: Range<usize>| said[range].iter().any(|word| !word.stop && !word.is_figure());
    let before = (0..at).rev().find(is_foreign).and_then(|foreign| (foreign + 1..=at).find(begins));
    let start = before.filter(|start| says_something(*start..said.len())).unwrap_or(0);
    let after = (at + 1..said.len()).find(is_foreign).and_then(|foreign| (at + 1..=foreign).rev().find(begins));
    let end = after.filter(|end| says_something(start..*end)).unwrap_or(said.len());
    if says_something(start..end) { start..end } else { 0..said.len() }
}

/// Adds units until those chosen hold enough of the sentence: each time the one that adds most.
fn gather(sentence: &Sentence, said: &[Word], pieces: &[Piece], chosen: &mut Vec<usize>) -> Result<(), String> {
    let content: Vec<&Word> = said.iter().filter(|word| !word.stop).collect();
    loop {
        let is_held = |word: &Word| chosen.iter().any(|index| pieces[*index].held.contains(&word.stem));
        let found = content.iter().filter(|word| is_held(word)).count();
        let enough = is_enough(found, content.len());
        let missing: HashSet<&str> =
            content.iter().filter(|word| !is_held(word)).map(|word| word.stem.as_str()).collect();
        let years = content.iter().filter(|word| is_year(&sentence.text, word) && !is_held(word)).count();
        if !chosen.is_empty() && enough && years == 0 {
            return Ok(());
        }
        let runs: HashSet<usize> = chosen.iter().map(|index| pieces[*index].run).collect();
        let adds = |index: &usize| {
            let own = &pieces[*index].own;
            let years = content.iter().filter(|word| is_year(&sentence.text, word) && !is_held(word));
            (
                years.filter(|year| own.contains(&year.stem)).count(),
                missing.iter().filter(|stem| own.contains(**stem)).count(),
            )
        };
        let open = (0..pieces.len()).filter(|index| runs.len() < MAX_UNITS || runs.contains(&pieces[*index].run));
        let best = open.map(|index| (adds(&index), std::cmp::Reverse(index))).max();
        match best {
            Some(((years, words), std::cmp::Reverse(index))) if years > 0 || (words > 0 && !enough) => {
                chosen.push(index);
            }
            // A year that stands in no unit stands in the head of a table.
            _ if enough && !chosen.is_empty() => return Ok(()),
            // Its words may all stand in the title and the headings, which are no statement.
            _ if chosen.is_empty() => return Err(format!("no sentence of the passage named says: {}", sentence.text)),
            _ => {
                return Err(format!(
                    "{found} of {} words are in the sentences cited for: {}",
                    content.len(),
                    sentence.text
                ));
            }
        }
    }
}

fn is_enough(found: usize, of: usize) -> bool {
    of > 0 && found as f64 >= LEAST_SUPPORT * of as f64
}

/// Whether a word is a year: four digits of these centuries, no amount and no share.
fn is_year(text: &str, word: &Word) -> bool {
    let is_amount = text[..word.range.start].ends_with(['$', '€', '£']) || text[word.range.end..].starts_with('%');
    let raw = &text[word.range.clone()];
    let is_plain = raw.len() == 4 && raw.bytes().all(|byte| byte.is_ascii_digit());
    is_plain && (raw.starts_with("19") || raw.starts_with("20")) && !is_amount
}
