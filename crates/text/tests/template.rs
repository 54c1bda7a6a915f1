//! Chat templates against what Python's Jinja makes of the same sources, and their bounds.
//!
//! `scripts/goldens/templates.py` rendered the goldens in transformers' own environment over jinja2, with BOS "<BOS>", EOS "<EOS>" and the clock at 2025-03-09 14:05:07.

mod common;

use common::shared;
use sconce_text::{ChatTemplate, Conversation, TemplateError};
use serde_json::{Value, json};

const NOW: u64 = 1_741_529_107;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/goldens/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn conversation(case: &Value) -> Conversation {
    Conversation {
        messages: case["messages"].as_array().unwrap().clone(),
        tools: case.get("tools").cloned(),
        add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
        extra: serde_json::Map::new(),
    }
}

fn user(content: &str) -> Conversation {
    Conversation { messages: vec![json!({"role": "user", "content": content})], ..Conversation::default() }
}

fn check_golden(name: &str) {
    let Some(path) = shared(&format!("templates/{name}.jinja")) else { return };
    let template = ChatTemplate::new(&std::fs::read_to_string(path).unwrap(), "<BOS>", "<EOS>").unwrap();
    let cases = golden("conversations");
    assert!(cases.as_object().unwrap().len() >= 12);
    for (case, expected) in golden(name).as_object().unwrap() {
        let rendered = template.render_at(&conversation(&cases[case]), NOW);
        match (expected, rendered) {
            (Value::String(expected), Ok(text)) => assert_eq!(&text, expected, "{name}: {case}"),
            (Value::Object(expected), Err(TemplateError::Raised { message })) => {
                assert_eq!(expected["raised"], message, "{name}: {case}");
            }
            // Python cannot iterate over `none`; minijinja takes it for empty, which serves such a template better.
            (Value::Object(expected), Ok(_)) if expected.contains_key("failed") => {}
            (expected, rendered) => panic!("{name}: {case}: {rendered:?} instead of {expected}"),
        }
    }
}

#[test]
fn llama_3_1_renders_as_jinja2_does() {
    check_golden("meta-llama-Llama-3.1-8B-Instruct");
}

#[test]
fn llama_3_2_renders_as_jinja2_does() {
    check_golden("meta-llama-Llama-3.2-3B-Instruct");
}

#[test]
fn qwen_2_5_renders_as_jinja2_does() {
    check_golden("Qwen-Qwen2.5-7B-Instruct");
}

#[test]
fn mistral_nemo_renders_as_jinja2_does() {
    check_golden("mistralai-Mistral-Nemo-Instruct-2407");
}

#[test]
fn mistral_small_renders_as_jinja2_does() {
    check_golden("Mistral-Small-3.2-24B-Instruct-2506");
}

#[test]
fn hermes_3_renders_as_jinja2_does() {
    check_golden("NousResearch-Hermes-3-Llama-3.1-8B-tool_use");
}

#[test]
fn what_a_template_raises_is_the_message() {
    let template = ChatTemplate::new("{{ raise_exception('only ' ~ messages|length ~ ' message') }}", "", "").unwrap();
    let error = template.render(&user("x")).unwrap_err();
    assert_eq!(error, TemplateError::Raised { message: "only 1 message".to_owned() });
    assert_eq!(error.to_string(), "only 1 message");
}

#[test]
fn python_spellings_dates_and_loop_controls_work() {
    let source = "{% generation %}{{ true }} {{ none }} {{ [1, 'a', none] }} {{ {'k': false} }}{% endgeneration %}
{%- for message in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ message.content.strip().upper() }}{% endfor %}
{{- ' ' ~ strftime_now('%d %B %Y') }} {{ messages|tojson(indent=1) }} {{ missing }}|{{ 'x' * 3 }}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let mut conversation = user(" hi ");
    conversation.messages.push(json!({"role": "user", "content": "unseen"}));
    conversation.messages.truncate(2);
    conversation.extra.insert("unused".to_owned(), json!(1));
    let text = template.render_at(&conversation, NOW).unwrap();
    let json = "[\n {\n  \"role\": \"user\",\n  \"content\": \" hi \"\n },\n {\n  \"role\": \"user\",\n  \"content\": \"unseen\"\n }\n]";
    assert_eq!(text, format!("True None [1, 'a', None] {{'k': False}}HI 09 March 2025 {json} |xxx"));
}

#[test]
fn arguments_of_tool_calls_that_are_json_text_are_parsed() {
    let template = ChatTemplate::new("{{ messages[0].tool_calls[0].function.arguments.role }}", "", "").unwrap();
    let call = json!({"role": "assistant", "content": null, "tool_calls": [
        {"type": "function", "function": {"name": "pay", "arguments": "{\"role\": \"carpenter\"}"}}]});
    let conversation = Conversation { messages: vec![call], ..Conversation::default() };
    assert_eq!(template.render(&conversation).unwrap(), "carpenter");
}

#[test]
fn extra_variables_win_over_defaults_but_not_over_messages() {
    let template = ChatTemplate::new("{{ bos_token }}{{ thinking }}{{ messages[0].content }}", "<s>", "").unwrap();
    let mut conversation = user("hi");
    conversation.extra.insert("thinking".to_owned(), json!(true));
    conversation.extra.insert("messages".to_owned(), json!([]));
    assert_eq!(template.render(&conversation).unwrap(), "<s>Truehi");
}

#[test]
fn a_template_that_does_not_compile_says_where() {
    let error = ChatTemplate::new("line one\n{% if %}", "", "").unwrap_err();
    assert!(matches!(error, TemplateError::Syntax { line: 2, .. }), "{error:?}");
    let error = ChatTemplate::new(&" ".repeat(2 << 20), "", "").unwrap_err();
    assert!(matches!(error, TemplateError::SourceTooLong { .. }), "{error:?}");
}

#[test]
fn endless_work_and_endless_output_end_in_an_error() {
    let work = "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = a %}{% endfor %}{% endfor %}";
    let error = ChatTemplate::new(work, "", "").unwrap().render(&user("x")).unwrap_err();
    assert!(matches!(error, TemplateError::TooMuchWork { .. }), "{error:?}");
    let output = "{% for a in range(99999) %}{{ messages[0].content }}{% endfor %}";
    let error = ChatTemplate::new(output, "", "").unwrap().render(&user(&"x".repeat(1000))).unwrap_err();
    assert!(matches!(error, TemplateError::OutputTooLong { .. }), "{error:?}");
}

#[test]
fn an_attribute_of_nothing_is_an_error_with_its_line() {
    let template = ChatTemplate::new("\n{{ messages[7].content.text }}", "", "").unwrap();
    assert!(matches!(template.render(&user("x")).unwrap_err(), TemplateError::Render { line: 2, .. }));
}

#[test]
fn a_value_nested_without_end_is_an_error_however_it_is_written() {
    for write in ["{{ ns.x }}", "{{ ns.x|string }}", "{{ ns.x|tojson }}", "{{ ns.x|tojson(indent=2) }}", "{{ ns.y }}"] {
        // `x` holds itself in a list a thousand times over, `y` holds its own holder.
        let source = "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}\
            {% set ns.y = ns %}";
        let error = ChatTemplate::new(&format!("{source}{write}"), "", "").unwrap().render(&user("x")).unwrap_err();
        assert!(error.to_string().contains("128 levels"), "{write}: {error:?}");
    }
    let shallow = "{% set ns = namespace(x=1) %}{% for i in range(100) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}";
    let text = ChatTemplate::new(shallow, "", "").unwrap().render(&user("x")).unwrap();
    assert_eq!(text, format!("{}1{}", "[".repeat(100), "]".repeat(100)));
}

#[test]
fn a_value_that_doubles_and_doubles_ends_in_an_error_when_it_is_written() {
    for write in
        ["{{ ns.x }}", "{{ ns.x|string|length }}", "{{ ns.x|tojson|length }}", "{{ ns.x|tojson(indent='    ') }}"]
    {
        let source = "{% set ns = namespace(x=1) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
        let error = ChatTemplate::new(&format!("{source}{write}"), "", "").unwrap().render(&user("x")).unwrap_err();
        assert!(matches!(error, TemplateError::OutputTooLong { .. }), "{write}: {error:?}");
    }
}

#[test]
fn a_repetition_that_no_memory_holds_is_an_error() {
    for source in
        ["{{ 'a' * 60000000000 }}", "{{ 60000000000 * 'a' }}", "{{ ['a'] * 60000000000 }}", "{{ ['a'] * 90000000 }}"]
    {
        let rendered = ChatTemplate::new(source, "", "").and_then(|template| template.render(&user("x")));
        assert!(rendered.is_err(), "{source}");
    }
}

#[test]
fn tojson_writes_keys_and_what_is_missing_as_json_does() {
    let source = "{{ {'b': missing, 'a': [], 2: {}, true: 1.5}|tojson }}{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}\
        {{ [1, {'a': [2]}]|tojson(separators=(',', ':')) }}{{ range(3)|tojson }}";
    let text = ChatTemplate::new(source, "", "").unwrap().render(&user("x")).unwrap();
    let first = r#"{"b": null, "a": [], "2": {}, "true": 1.5}"#;
    assert_eq!(text, format!(r#"{first}{{"a": 2, "b": 1}}[1,{{"a":[2]}}][0, 1, 2]"#));
}

#[test]
fn a_text_that_doubles_and_doubles_is_an_error_before_memory_ends() {
    for double in ["ns.x ~ ns.x", "ns.x * 2", "[ns.x, ns.x]|join"] {
        let source = format!(
            "{{% set ns = namespace(x='a') %}}{{% for i in range(29) %}}{{% set ns.x = {double} %}}{{% endfor %}}{{{{ ns.x|length }}}}"
        );
        let rendered = ChatTemplate::new(&source, "", "").and_then(|template| template.render(&user("x")));
        assert!(rendered.is_err(), "{double}: {rendered:?}");
    }
}
