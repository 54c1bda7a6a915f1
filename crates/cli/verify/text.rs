//! The tokenizer's round trips, and what the chat template makes of a conversation.

use sconce_engine::{ChatTemplate, Conversation, EngineHandle, Special, Tokenizer};
use serde_json::{Value, json};

use super::report::Report;
use super::{failed, passed, skipped};
use crate::bench::findings::Finding;

/// Texts that must come back as they were: composed, since some vocabularies compose, and without a space in front, which others
/// take for their own.
const TEXTS: [&str; 7] = [
    "Once upon a time, there was a little girl.",
    "two  spaces,\ttab,\n\nnew lines \r\n and an end ",
    "naïve café — “quotes” … ½ ≠ ∑",
    "Русский, Ελληνικά, עברית, العربية, हिन्दी",
    "中文字符、日本語のテキスト、한국어",
    "👩‍👩‍👧‍👦 🏳️‍🌈 x\u{301} \u{200b}\u{feff}",
    include_str!("../../../corpus/roles/backend-developer.md"),
];

/// Every text encoded and decoded.
pub(super) fn round_trips(tokenizer: &Tokenizer) -> Finding {
    let broken: Vec<&str> = TEXTS
        .into_iter()
        .filter(|text| tokenizer.decode(&tokenizer.encode(text, Special::default())) != **text)
        .map(|text| text.get(..24).unwrap_or(text))
        .collect();
    match broken.as_slice() {
        [] => passed("tokenizer round trips", format!("{} texts", TEXTS.len()), TEXTS.len().into()),
        [first, ..] => {
            failed("tokenizer round trips", format!("{} of {} texts; the first: {first:?}", broken.len(), TEXTS.len()))
        }
    }
}

/// The template's checks.
pub(super) fn template(engine: &EngineHandle, report: &mut Report) {
    let Some(template) = engine.chat_template() else {
        return report.add(skipped("chat template", "the file has none"));
    };
    report.add(match turns(template, engine.tokenizer()) {
        Ok(note) => passed("chat template", note, Value::Null),
        Err(why) => failed("chat template", why),
    });
}

fn turns(template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<String, String> {
    let encode = |text: &str| tokenizer.encode(text, Special { add_bos: true, parse_special: true });
    let render = |user: &str, open: bool, with_system: bool| {
        let mut messages = vec![
            json!({"role": "user", "content": user}),
            json!({"role": "assistant", "content": "The second."}),
            json!({"role": "user", "content": "The third."}),
        ];
        if with_system {
            messages.insert(0, json!({"role": "system", "content": "The first."}));
        }
        let conversation = Conversation { messages, add_generation_prompt: open, ..Conversation::default() };
        template.render(&conversation).map_err(|error| error.to_string())
    };
    let with_system = render("A question.", true, true).is_ok();
    let open = render("A question.", true, with_system)?;
    let closed = render("A question.", false, with_system)?;
    for part in ["A question.", "The second.", "The third."] {
        if !open.contains(part) {
            return Err(format!("{part:?} is not in the rendering"));
        }
    }
    // Some templates, such as Phi 3's, end a conversation with EOS where nobody is asked to go on.
    let eos = tokenizer.eos().and_then(|id| tokenizer.token_text(id)).filter(|text| !text.is_empty());
    let whole = closed.trim_end();
    let ended = eos
        .and_then(|eos| whole.strip_suffix(eos))
        .filter(|shorter| !open.starts_with(whole) && open.starts_with(shorter.trim_end()));
    let Some(begun) = open.strip_prefix(ended.unwrap_or(whole).trim_end()) else {
        return Err("with a generation prompt it renders something else, not more".into());
    };
    // Some templates, such as Mistral's, leave the turn to the assistant with the end of the user's.
    if begun.trim().is_empty() && open.trim_end().ends_with("The third.") {
        return Err("the rendering ends with the user's words: nothing opens the assistant's turn".into());
    }
    let ids = encode(&open);
    let bos = ids.iter().take_while(|id| Some(**id) == tokenizer.bos()).count();
    if bos > 1 {
        return Err(format!("{bos} BOS tokens begin the prompt"));
    }
    let named = tokenizer.end_of_generation().iter().copied().chain(tokenizer.bos()).chain(tokenizer.eos());
    let spelled: Vec<u32> = named.collect();
    let spelling: String = spelled.iter().filter_map(|id| tokenizer.token_text(*id)).collect();
    let hostile = encode(&render(&tokenizer.disarm(&spelling), true, with_system)?);
    let count = |ids: &[u32]| ids.iter().filter(|id| spelled.contains(id)).count();
    if count(&hostile) > count(&ids) {
        return Err("a message makes control tokens".into());
    }
    let system = if with_system { "system, user, assistant" } else { "user, assistant; it refuses a system turn" };
    Ok(format!("{system}; {} tokens", ids.len()))
}
