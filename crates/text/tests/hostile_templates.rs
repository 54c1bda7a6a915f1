//! Templates that a malicious model file may carry: chains and nested values as deep as the limits allow. Each ends in a
//! text or a typed error; an overflow of the stack would end the process.

use sconce_text::{ChatTemplate, Conversation, TemplateError};
use serde_json::json;

/// Bytes just below the limit of a source.
const SOURCE_BYTES: usize = 63 << 10;

fn conversation() -> Conversation {
    Conversation {
        messages: vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": "What does a carpenter earn? é 🪚"}),
            json!({"role": "assistant", "content": "", "tool_calls": [
                {"id": "abcdefghi", "type": "function", "function": {"name": "pay", "arguments": "{\"role\": [1]}"}}]}),
            json!({"role": "tool", "tool_call_id": "abcdefghi", "content": "59,310"}),
        ],
        tools: Some(json!([{"type": "function", "function": {"name": "pay", "description": "d", "parameters": {}}}])),
        add_generation_prompt: true,
        extra: serde_json::Map::new(),
    }
}

fn outcome(source: &str) -> Result<String, TemplateError> {
    ChatTemplate::new(source, "<s>", "</s>").and_then(|template| template.render_at(&conversation(), 1_741_529_107))
}

/// `prefix`, as many `link`s as there may be, `suffix`: 950 tokens of a tag, or a source full of tags.
fn chain(prefix: &str, link: &str, tokens: usize, suffix: &str) -> String {
    let links =
        if link.contains("{%") { (SOURCE_BYTES - prefix.len() - suffix.len()) / link.len() } else { 950 / tokens };
    format!("{prefix}{}{suffix}", link.repeat(links))
}

/// What a chain's link is, how many tokens it has, and what stands after the last.
const PREFIXES: [(&str, usize, &str); 15] = [
    ("-", 1, "x"),
    ("not ", 1, "x"),
    ("x+", 2, "1"),
    ("x or ", 2, "1"),
    ("x~", 2, "x"),
    ("x if ", 2, "x"),
    ("x**", 2, "1"),
    ("x is not ", 3, "y"),
    ("x<", 2, "1"),
    ("x,", 2, "1"),
    ("[", 1, "]"),
    ("(", 1, ")"),
    ("{1:", 3, "1}"),
    ("x(", 2, ")"),
    ("x if y else ", 4, "1"),
];
const SUFFIXES: [(&str, usize); 15] = [
    (".a", 2),
    ("[0]", 3),
    ("()", 2),
    ("|e", 2),
    ("|list", 2),
    (" is x", 2),
    ("[:]", 3),
    (".a()", 4),
    (" in x", 2),
    (" == x", 2),
    (" and 1", 2),
    ("//1", 2),
    ("%1", 2),
    ("|e(1)", 5),
    (" if 1 else 2", 4),
];
const TAGS: [(&str, &str, &str); 7] = [
    ("{% if x %}", "{% elif x %}", "{% endif %}"),
    ("", "{% if x %}", ""),
    ("", "{% for a in b %}", ""),
    ("", "{% macro x() %}", ""),
    ("", "{% filter e %}", ""),
    ("", "{% set x = [x] %}", "{{ x }}"),
    ("", "{{ x }}", ""),
];

#[test]
fn chains_as_long_as_a_tag_and_a_source_allow_end_in_a_text_or_an_error() {
    let mut sources = Vec::new();
    for (link, tokens, end) in PREFIXES {
        for (prefix, suffix) in [("{{ ", " }}"), ("{% set y = ", " %}"), ("{% if ", " %}{% endif %}")] {
            sources.push(chain(prefix, link, tokens, &format!("{end}{suffix}")));
        }
    }
    for (link, tokens) in SUFFIXES {
        sources.push(chain("{{ messages", link, tokens, " }}"));
        sources.push(chain("{% for y in x", link, tokens, " %}{% endfor %}"));
    }
    for (prefix, link, suffix) in TAGS {
        sources.push(chain(prefix, link, 1, suffix));
    }
    for source in sources {
        let began = std::time::Instant::now();
        let result = outcome(&source);
        assert!(!matches!(result, Err(TemplateError::Engine | TemplateError::NoThread { .. })), "{result:?}");
        let shown: String = source.chars().take(40).collect();
        println!(
            "{:>9.1?} {shown}: {}",
            began.elapsed(),
            result.map_or_else(|error| error.to_string(), |text| format!("{} bytes", text.len()))
        );
    }
}

#[test]
fn a_tag_that_is_too_long_is_refused_by_its_line() {
    let long = format!("line\n{{{{ {}x }}}}", "-".repeat(5000));
    assert_eq!(outcome(&long), Err(TemplateError::TagTooLong { line: 2, limit: 1000 }));
    // A tag within a string or a comment is none, and does not hide one that is.
    let hidden = format!("{{# \" #}}{{{{ '}}}}' }}}}{{% raw %}}{{{{ \" {{% endraw %}}{{{{ {}x }}}}", "- ".repeat(5000));
    assert!(matches!(outcome(&hidden), Err(TemplateError::TagTooLong { .. })));
    assert_eq!(outcome(&format!("{{{{ '{}'|length }}}}", "- ".repeat(5000))), Ok("10000".to_owned()));
}

/// Values that hold the one before, several levels in one step where an expression may; and how many steps, two hundred times
/// over, make two of them with most of the fuel.
const NESTINGS: [(&str, usize); 6] = [
    ("[[[[[[[[ns.x]]]]]]]]", 90),
    ("{'a': {'a': {'a': {'a': ns.x}}}}", 70),
    ("((((ns.x,),),),)", 140),
    ("namespace(x=ns.x)", 140),
    ("[ns.x]|zip([1])|list", 140),
    ("[ns.x]|chain([1])", 140),
];
/// What is done with two of them.
const USES: [&str; 11] = [
    "",
    "{{ a.x == b.x }}",
    "{{ [a.x, b.x]|sort }}",
    "{{ [a.x, b.x]|unique|list }}",
    "{{ {a.x: 1}[b.x] }}",
    "{{ a.x|tojson }}",
    "{{ a.x ~ 'x' }}",
    "{{ a.x|pprint }}",
    "{{ a.x|list }}",
    "{{ missing.y.z }}",
    "{{ debug() }}",
];

#[test]
fn values_as_deep_as_the_fuel_allows_end_in_a_text_or_an_error() {
    for (nesting, nearly) in NESTINGS {
        for last in USES {
            for steps in if last.is_empty() { vec![nearly, 99_999] } else { vec![nearly] } {
                let source = format!(
                    "{{% set a = namespace(x=1) %}}{{% set b = namespace(x=1) %}}{{% for ns in [a, b] %}}\
                     {{% for i in range(200) %}}{{% for i in range({steps}) %}}{{% set ns.x = {nesting} %}}\
                     {{% endfor %}}{{% endfor %}}{{% endfor %}}{last}"
                );
                let began = std::time::Instant::now();
                let result = outcome(&source);
                assert!(!matches!(result, Err(TemplateError::Engine | TemplateError::NoThread { .. })), "{result:?}");
                let told = result.map_or_else(|error| error.to_string(), |text| format!("{} bytes", text.len()));
                println!("{:>9.1?} {nesting} {last} {steps}: {told}", began.elapsed());
            }
        }
    }
}
