//! Any text as a chat template, compiled and rendered over a conversation with a tool call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce_text::{ChatTemplate, Conversation};
use serde_json::json;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let call = json!({"type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Ulm\"}"}});
    let conversation = Conversation {
        messages: vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": "Is it raining?"}),
            json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        ],
        tools: Some(json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}])),
        add_generation_prompt: true,
        extra: serde_json::Map::new(),
    };
    let _ = template.render_at(&conversation, 1_700_000_000);
});
