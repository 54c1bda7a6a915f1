//! Checks a generated text: each sentence names passages that exist, its figures stand there exactly, units of them support
//! it (`support` finds them), and those deny what it denies. Strict on purpose: a failure costs only the fluency of the
//! answer, since verbatim sentences take its place.

use std::collections::HashSet;
use std::ops::Range;

use super::{Claim, support};
use crate::analyze::{Word, words};
use crate::retrieve::Hit;
use crate::sentence::sentences;

/// Bytes of a generated answer that are looked at; a longer one is no answer of one to three sentences.
const MAX_ANSWER_BYTES: usize = 8 << 10;
/// Sentences of a generated answer at most, for the same reason.
const MAX_SENTENCES: usize = 32;
/// Words of a run that nobody says twice in a row on purpose.
const RUN: usize = 3;
/// Words that turn a statement round; `n't` does too.
const NEGATIONS: &[&str] = &[
    "no", "not", "never", "none", "neither", "nor", "nobody", "nothing", "without", "cannot", "hardly", "rarely",
    "seldom",
];

/// A sentence of the answer with the passages it names.
pub(super) struct Sentence {
    /// Its words, without the brackets.
    pub(super) text: String,
    pub(super) span: Range<usize>,
    /// Numbers in its brackets.
    pub(super) passages: Vec<usize>,
}

/// The claims of `text`, or the first problem in words. `order[n - 1]` is the hit behind passage `n`.
pub(super) fn check(text: &str, hits: &[Hit], order: &[usize]) -> Result<Vec<Claim>, String> {
    if text.is_empty() {
        return Err("the answer is empty".into());
    }
    if text.len() > MAX_ANSWER_BYTES {
        return Err(format!("the answer has {} bytes; at most {MAX_ANSWER_BYTES} are checked", text.len()));
    }
    let found = cited_sentences(text);
    if found.len() > MAX_SENTENCES {
        return Err(format!("the answer has {} sentences; at most {MAX_SENTENCES} are checked", found.len()));
    }
    let mut said = HashSet::new();
    let mut claims = Vec::new();
    for mut sentence in found {
        if !said.insert(sentence.text.clone()) {
            return Err(format!("it says twice: {}", sentence.text));
        }
        // A passage that is named again and again is read once.
        sentence.passages.sort_unstable();
        sentence.passages.dedup();
        if sentence.passages.is_empty() {
            return Err(format!("no passage is named for: {}", sentence.text));
        }
        if let Some(run) = stutter(&sentence.text) {
            return Err(format!("it says {run:?} over and over: {}", sentence.text));
        }
        let mut cited = Vec::new();
        for number in &sentence.passages {
            let hit = number.checked_sub(1).and_then(|index| order.get(index));
            let Some(hit) = hit else { return Err(format!("there is no passage [{number}]")) };
            cited.push((*number, *hit));
        }
        holds_figures(&sentence, &cited, hits)?;
        let chosen = support::claims_of(&sentence, &cited, hits)?;
        agrees(&sentence, &chosen, hits)?;
        claims.extend(chosen);
    }
    if claims.is_empty() {
        return Err("the answer states nothing".into());
    }
    Ok(claims)
}

/// Words that a sentence says twice in a row: a run of at least [`RUN`] of them, or one said four times. A model that stutters has
/// lost its place, though each of its words is in the passage.
fn stutter(text: &str) -> Option<String> {
    let found = words(text);
    let said: Vec<&str> = found.iter().map(|word| word.normal.as_str()).collect();
    let repeated = (RUN..=said.len() / 2).find_map(|length| {
        said.windows(2 * length).find(|run| run[..length] == run[length..]).map(|run| &run[..length])
    });
    let single = || said.windows(4).find(|run| run.iter().all(|word| *word == run[0])).map(|run| &run[..1]);
    repeated.or_else(single).map(|run| run.join(" "))
}

/// Whether the cited passages hold the sentence's figures at all.
fn holds_figures(sentence: &Sentence, cited: &[(usize, usize)], hits: &[Hit]) -> Result<(), String> {
    let held: HashSet<String> =
        cited.iter().flat_map(|(_, hit)| words(&hits[*hit].text)).map(|word| word.normal).collect();
    match words(&sentence.text).iter().find(|word| word.is_figure() && !held.contains(&word.normal)) {
        Some(Word { normal, .. }) => {
            Err(format!("the figure {normal} is not in the passage named for: {}", sentence.text))
        }
        None => Ok(()),
    }
}

/// Whether the sentence and the units that support it deny alike: a "not" may neither be added nor dropped.
fn agrees(sentence: &Sentence, claims: &[Claim], hits: &[Hit]) -> Result<(), String> {
    let mut sliced = claims.iter().filter_map(|claim| hits[claim.hit].slice(&claim.source_span));
    match (denies(&sentence.text), sliced.any(denies)) {
        (true, false) => Err(format!("the passage denies nothing, unlike: {}", sentence.text)),
        (false, true) => Err(format!("the passage denies something, unlike: {}", sentence.text)),
        _ => Ok(()),
    }
}

/// Whether a text holds a word that turns a statement round.
fn denies(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains("n't")
        || lower.contains("n’t")
        || words(text).iter().any(|word| NEGATIONS.contains(&word.normal.as_str()))
}

/// Sentences with the brackets that stand inside or right behind them. A line break ends a sentence.
pub(super) fn cited_sentences(text: &str) -> Vec<Sentence> {
    let mut found: Vec<Sentence> = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        for range in sentences(line) {
            let piece = &line[range.clone()];
            let led = leading_brackets(piece);
            let (head, rest) = piece.split_at(led);
            if let Some(previous) = found.last_mut().filter(|_| led > 0) {
                previous.passages.extend(brackets(head).1);
                previous.span.end = offset + range.start + head.trim_end().len();
            }
            let (words_only, mut passages) = brackets(rest);
            if found.is_empty() {
                passages.extend(brackets(head).1);
            }
            if words_only.chars().any(char::is_alphanumeric) {
                let span = offset + range.start + led..offset + range.end;
                found.push(Sentence { text: words_only.trim().to_owned(), span, passages });
            } else if let Some(previous) = found.last_mut() {
                previous.passages.extend(passages);
            }
        }
        offset += line.len();
    }
    found
}

/// Bytes of `[1] [2] ` at the start.
fn leading_brackets(text: &str) -> usize {
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        if numbers(after.0).is_none() {
            break;
        }
        rest = after.1.trim_start();
    }
    text.len() - rest.len()
}

/// The text without its numbered brackets, and their numbers.
fn brackets(text: &str) -> (String, Vec<usize>) {
    let (mut bare, mut found, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, inside)) = rest.split_once('[') {
        bare.push_str(before);
        match inside.split_once(']').and_then(|(inside, after)| Some((numbers(inside)?, after))) {
            Some((inside, after)) => {
                found.extend(inside);
                rest = after;
            }
            None => {
                bare.push('[');
                rest = inside;
            }
        }
    }
    bare.push_str(rest);
    (bare, found)
}

/// `1` or `1, 2`; `None` for anything else.
fn numbers(inside: &str) -> Option<Vec<usize>> {
    inside.split(',').map(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Unit, UnitKind};

    fn hit(text: &str) -> Hit {
        let units = sentences(text).into_iter().map(|span| Unit { kind: UnitKind::Sentence, span }).collect();
        Hit {
            file_id: "file-1".into(),
            filename: "bakers.md".into(),
            title: "Bakers".into(),
            section: "Pay".into(),
            chunk_id: 1,
            text: text.into(),
            span: 0..text.len(),
            score: 1.0,
            attributes: Attributes::new(),
            units,
        }
    }

    fn quotes(answer: &str) -> Result<Vec<String>, String> {
        let hits = [hit("Bakers work at night. The median annual wage for bakers was $36,650 in May 2024.")];
        let claims = check(answer, &hits, &[0])?;
        Ok(claims.iter().map(|claim| hits[0].text[claim.source_span.clone()].to_owned()).collect())
    }

    #[test]
    fn a_supported_sentence_is_cited_by_the_unit_that_says_it() {
        let wage = "The median annual wage for bakers was $36,650 in May 2024.";
        assert_eq!(quotes("The median wage of bakers was $36,650 [1]."), Ok(vec![wage.to_owned()]));
        assert_eq!(quotes("The median wage of bakers was $36,650. [1]"), Ok(vec![wage.to_owned()]));
        assert_eq!(
            quotes("Bakers work at night [1]. The wage was $36,650 [1]."),
            Ok(vec!["Bakers work at night.".to_owned(), wage.to_owned()])
        );
    }

    #[test]
    fn a_sentence_that_stutters_is_no_answer() {
        for stuttered in [
            "The median annual wage for bakers, the median annual wage for bakers was $36,650 in May 2024 [1].",
            "The median annual wage was $36,650 in May 2024 in May 2024 [1].",
            "Bakers bakers bakers bakers work at night [1].",
        ] {
            assert!(quotes(stuttered).is_err_and(|problem| problem.contains("over and over")), "{stuttered}");
        }
        assert!(quotes("Bakers work at night, at night [1].").is_ok(), "two words may be meant");
        let twice = quotes("Bakers work at night [1]. Bakers work at night [1].");
        assert!(twice.is_err_and(|problem| problem.contains("twice")));
    }

    #[test]
    fn unsupported_sentences_are_named() {
        let cases = [
            ("The median wage of bakers was $36,650.", "no passage is named"),
            ("The median wage of bakers was $36,650 [2].", "no passage [2]"),
            ("The median wage of bakers was $36,651 [1].", "figure 36651"),
            ("Bakers fly expensive rockets through space [1].", "1 of 5 words"),
            ("Bakers do not work at night [1].", "denies nothing"),
            ("Bakers work at night [1]. They sleep.", "no passage is named"),
            ("[1]", "states nothing"),
            ("", "empty"),
        ];
        for (answer, problem) in cases {
            let found = quotes(answer).expect_err(answer);
            assert!(found.contains(problem), "{answer}: {found}");
        }
    }

    const WAGES: &str = "The median annual wage for bakers was $36,650 in May 2024. The lowest 10 percent earned less than \
        $27,930, and the highest 10 percent earned more than $48,660. Bakers held 249,100 jobs. Employment is projected to \
        grow 6 percent from 2024 to 2034.";

    #[test]
    fn a_figure_does_not_stand_for_what_another_sentence_says() {
        for answer in [
            "The median annual wage for bakers was $27,930 [1].",
            "The median annual wage for bakers, in May 2024, was $27,930 [1].",
            "The median annual wage for bakers and tortilla makers was $27,930 [1].",
            "Bakers held 249,100 jobs, and the median annual wage for bakers was $48,660 [1].",
            "The median annual wage was $27,930 and the lowest 10 percent earned less than $36,650 [1].",
            "Bakers held 36,650 jobs [1].",
            "The median annual wage for bakers was $36,650 in May 2034 [1].",
        ] {
            let problem = check(answer, &[hit(WAGES)], &[0]).err();
            assert!(problem.is_some_and(|problem| problem.contains("says the rest of")), "{answer}");
        }
        for (answer, units) in [
            ("The median annual wage for bakers was $36,650 [1].", 1),
            ("In May 2024 bakers earned a median wage of $36,650 [1].", 1),
            ("In 2024, the lowest 10 percent of bakers earned less than $27,930 [1].", 2),
            ("The lowest 10 percent earned less than $27,930 and the highest 10 percent more than $48,660 [1].", 1),
            ("The median wage was $36,650 in May 2024, while the lowest 10 percent earned less than $27,930 [1].", 2),
            ("Bakers held 249,100 jobs and had a median annual wage of $36,650 [1].", 2),
            ("Employment of bakers will grow 6% from 2024 to 2034 [1].", 1),
        ] {
            let claims = check(answer, &[hit(WAGES)], &[0]).unwrap_or_else(|problem| panic!("{answer}: {problem}"));
            assert_eq!(claims.len(), units, "{answer}");
        }
    }

    #[test]
    fn words_are_gathered_from_few_units_and_a_list_is_one() {
        let mut hits =
            [hit("Bakers do the following: Mix dough. Weigh flour. Watch ovens. Clean tins. Sell bread. Count \
            coins.")];
        let answer = "Bakers mix dough, weigh flour, watch ovens, clean tins, sell bread and count coins [1].";
        let problem = check(answer, &hits, &[0]).err().expect("from six sentences");
        assert!(problem.contains("7 of 13 words"), "{problem}");
        hits[0].units[1..].iter_mut().for_each(|unit| unit.kind = UnitKind::Item);
        assert!(check(answer, &hits, &[0]).is_ok());
    }

    #[test]
    fn a_row_is_read_with_the_head_of_its_table_and_its_lead() {
        let text = "Bakers work in these industries: Industry | Share of jobs. Grocery stores | 32%.";
        let mut hits = [hit(text)];
        let split = text.find("Industry").expect("a head");
        let row = text.find("Grocery").expect("a row");
        hits[0].units = vec![
            Unit { kind: UnitKind::Sentence, span: 0..split - 1 },
            Unit { kind: UnitKind::TableHead, span: split..row - 1 },
            Unit { kind: UnitKind::Row, span: row..text.len() },
        ];
        assert!(check("The share of jobs in grocery stores is 32% [1].", &hits, &[0]).is_ok());
        assert!(check("Bakers in the industry of rockets and planes number 32 [1].", &hits, &[0]).is_err());
    }

    #[test]
    fn a_negation_is_neither_added_nor_dropped() {
        let said = |source: &str, answer: &str| check(answer, &[hit(source)], &[0]).map(|claims| claims.len());
        for (source, answer) in [
            ("Bakers do not need a degree.", "Bakers need a degree [1]."),
            ("Bakers don’t need a degree.", "Bakers need a degree [1]."),
            ("Bakers can't skip the training.", "Bakers can skip the training [1]."),
            ("Bakers rarely work at noon.", "Bakers work at noon [1]."),
            ("Bakers need a degree. Tailors do not.", "Bakers do not need a degree [1]."),
        ] {
            assert!(said(source, answer).is_err_and(|problem| problem.contains("unlike")), "{source} {answer}");
        }
        assert_eq!(said("Bakers do not need a degree.", "A degree isn't needed by bakers [1]."), Ok(1));
        assert_eq!(said("Bakers need training. Tailors never do.", "Training is what bakers need [1]."), Ok(1));
    }

    #[test]
    fn a_sentence_made_of_headings_only_is_refused() {
        let hits = [hit("They work at night.")];
        let problem = check("They work at night [1]. Bakers: Pay [1].", &hits, &[0]).err().expect("refused");
        assert!(problem.contains("no sentence of the passage"), "{problem}");
    }

    #[test]
    fn a_passage_named_again_and_again_is_one_passage() {
        let answer = format!("Bakers work at night [{}1].", "1,".repeat(3_000));
        assert_eq!(quotes(&answer), Ok(vec!["Bakers work at night.".to_owned()]));
        let problem = quotes(&"Bakers work at night [1]. ".repeat(40)).expect_err("too many");
        assert!(problem.contains("40 sentences"), "{problem}");
    }

    #[test]
    fn the_answer_span_covers_the_sentence_with_its_brackets() {
        let hits = [hit("Bakers work at night.")];
        let text = "Bakers work at night. [1]\nAt night bakers work [1].";
        let spans: Vec<_> =
            check(text, &hits, &[0]).expect("supported").iter().map(|claim| &text[claim.answer_span.clone()]).collect();
        assert_eq!(spans, ["Bakers work at night. [1]", "At night bakers work [1]."]);
    }
}
