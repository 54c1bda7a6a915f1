//! The words that prompts are made of. Short and common, so that most tokenizers know each as one token.

/// 256 distinct English words, so that one deck of them is a fair sample of what a tokenizer makes of a word.
#[rustfmt::skip] // one word a line would be 256 lines
pub(crate) const WORDS: [&str; 256] = [
    "able", "about", "above", "act", "add", "again", "age", "ago", "agree", "air", "allow", "alone", "along", "also",
    "always", "among", "animal", "answer", "apple", "area", "arm", "around", "art", "ask", "away", "baby", "back",
    "bad", "bag", "ball", "bank", "base", "bath", "bear", "beat", "become", "bed", "before", "begin", "behind",
    "below", "best", "better", "between", "big", "bird", "black", "blood", "blue", "board", "boat", "body", "bone",
    "book", "both", "box", "boy", "bread", "break", "bring", "brother", "brown", "build", "burn", "business", "busy",
    "buy", "call", "camp", "captain", "car", "card", "care", "carry", "case", "cat", "catch", "cause", "center",
    "chair", "chance", "change", "child", "church", "circle", "city", "class", "clean", "clear", "climb", "clock",
    "close", "cloth", "cloud", "coast", "coat", "cold", "color", "come", "common", "cook", "cool", "copy", "corn",
    "corner", "cost", "count", "country", "course", "cover", "cross", "crowd", "cry", "cup", "cut", "dance", "danger",
    "dark", "daughter", "day", "dead", "deal", "dear", "death", "decide", "deep", "desert", "design", "desk",
    "different", "dinner", "door", "double", "doubt", "down", "draw", "dream", "dress", "drink", "drive", "drop",
    "dry", "during", "dust", "duty", "each", "ear", "early", "earth", "east", "easy", "eat", "edge", "effect", "egg",
    "eight", "either", "electric", "else", "empty", "end", "enemy", "energy", "engine", "enjoy", "enough", "enter",
    "equal", "even", "event", "ever", "every", "exact", "example", "eye", "face", "fact", "fair", "fall", "family",
    "famous", "far", "farm", "fast", "father", "fear", "feed", "feel", "few", "field", "fight", "figure", "fill",
    "final", "find", "fine", "finger", "finish", "fire", "first", "fish", "five", "flat", "floor", "flow", "flower",
    "fly", "follow", "food", "foot", "force", "forest", "form", "four", "free", "fresh", "friend", "front", "fruit",
    "full", "game", "garden", "gas", "gate", "gather", "gave", "general", "gentle", "get", "girl", "give", "glad",
    "glass", "gold", "gone", "good", "grand", "grass", "gray", "great", "green", "ground", "group", "grow", "guess",
    "guide", "hair", "hand", "happy", "hard", "head", "hear", "heart", "heat", "heavy", "help",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_lower_case_letters() {
        let mut sorted = WORDS.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), WORDS.len());
        assert!(WORDS.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
