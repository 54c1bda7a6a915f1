//! Property tests: whatever the bytes are, parsing never panics, and every chunk and unit is a slice of the source text.

use proptest::prelude::*;
use sconce_rag::{MAX_CHUNK_BYTES, MAX_CHUNK_WORDS, ParseLimits, RagError, chunk_document, parse_document};

/// Pieces that mean something to one of the parsers, glued together at random.
fn markup() -> impl Strategy<Value = String> {
    let pieces = vec![
        "# Title\n",
        "## Section About this section\n",
        "\n\n",
        "\n",
        " ",
        "* item\n",
        "1. first\n",
        "| a | b |\n",
        "| --- | --- |\n",
        "|  |  |\n",
        "Term\n:   Definition\n",
        "Term\n:   Definition\n\n    Inner\n    :   Deeper\n\n    Other\n    :   Deeper\n\n",
        "> quote\n",
        "```\ncode\n```\n",
        "***bold***",
        "[link](url)",
        "<- Summary\n",
        "What ->\n",
        "A sentence. ",
        "Is it? ",
        "\"Yes.\" ",
        "e.g. this ",
        "$59,310",
        "é",
        "”",
        "•",
        "  • bullet\n",
        "Heading line\n",
        "Label:\n",
        "<h1>Head</h1>",
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<table><tr><th>a</th>",
        "<td>b</td></tr></table>",
        "<ul><li>x",
        "<br>",
        "<script>",
        "</script>",
        "<!-- c -->",
        "&amp;",
        "<dl><dt>t<dd>d</dl>",
        "<svg><path/></svg>",
        "<nav>n</nav>",
        "<",
        ">",
        "]",
        "---\ntitle: x\n---\n",
        "\u{feff}",
        "\r\n",
        "\t",
        "\u{a0}",
        "Source: here\n",
        "word ",
        "Please enable javascript\n",
    ];
    let piece = prop_oneof![9 => prop::sample::select(pieces).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn check(file: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let document = match parse_document(file, bytes, &ParseLimits::default()) {
        Ok(document) => document,
        Err(error) => {
            prop_assert!(error.is_document_fault(), "{error}");
            return Ok(());
        }
    };
    prop_assert!(!document.title.is_empty());
    if !file.ends_with(".html") {
        let source = std::str::from_utf8(bytes).expect("it was parsed");
        prop_assert_eq!(document.text.as_str(), source.strip_prefix('\u{feff}').unwrap_or(source));
    }
    let chunks = chunk_document(file, &document).expect("few chunks");
    prop_assert!(!chunks.is_empty());
    for chunk in &chunks {
        let text = document.text.get(chunk.span.clone());
        prop_assert!(text.is_some_and(|text| !text.is_empty() && text.trim() == text), "{:?}", text);
        let words: usize =
            chunk.units.iter().map(|unit| document.text[unit.span.clone()].split_whitespace().count()).sum();
        prop_assert!(words <= MAX_CHUNK_WORDS, "{words} words");
        prop_assert!(chunk.span.len() <= MAX_CHUNK_BYTES, "{} bytes", chunk.span.len());
        let mut end = chunk.span.start;
        for unit in &chunk.units {
            prop_assert!(unit.span.start >= end && unit.span.end <= chunk.span.end && !unit.span.is_empty());
            prop_assert!(document.text.get(unit.span.clone()).is_some());
            end = unit.span.end;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn chunks_are_slices_of_the_source_whatever_the_text(text in markup(), extension in prop::sample::select(vec!["md", "txt", "html"])) {
        check(&format!("a.{extension}"), text.as_bytes())?;
    }

    #[test]
    fn any_bytes_give_a_document_or_a_typed_error(bytes in prop::collection::vec(any::<u8>(), 0..300), extension in prop::sample::select(vec!["md", "txt", "html"])) {
        if std::str::from_utf8(&bytes).is_err() || bytes.contains(&0) {
            let error = parse_document(&format!("a.{extension}"), &bytes, &ParseLimits::default());
            let is_typed = matches!(error, Err(RagError::NotUtf8 { .. } | RagError::Binary { .. }));
            prop_assert!(is_typed);
        } else {
            check(&format!("a.{extension}"), &bytes)?;
        }
    }
}
