//! Writes a first corpus for each target under `corpus/`: a tiny model that computes, templates as models bring them, vocabularies.

use std::fs;
use std::path::Path;

use sconce_kernels::WeightType;
use sconce_model::gguf::write::{GgufWriter, WriteTensor, WriteValue};

fn model(weight_type: WeightType, width: usize) -> Vec<u8> {
    let text = |key: &str, value: &str| (key.to_owned(), WriteValue::Text(value.to_owned()));
    let number = |key: &str, value: usize| (format!("llama.{key}"), WriteValue::U32(value as u32));
    let metadata = [
        text("general.architecture", "llama"),
        number("context_length", 64),
        number("embedding_length", width),
        number("block_count", 1),
        number("feed_forward_length", width),
        number("attention.head_count", 2),
        ("llama.attention.layer_norm_rms_epsilon".to_owned(), WriteValue::F32(1e-5)),
        text("tokenizer.chat_template", "{{ messages }}"),
        ("tokenizer.ggml.tokens".to_owned(), WriteValue::TextArray(vec!["a".to_owned(), "b".to_owned()])),
        ("tokenizer.ggml.token_type".to_owned(), WriteValue::I32Array(vec![1, 3])),
    ];
    let tensor = |name: &str, dimensions: &[usize], weight_type| WriteTensor {
        name: format!("{name}.weight"),
        dimensions: dimensions.to_vec(),
        weight_type,
    };
    let mut tensors =
        vec![tensor("token_embd", &[width, 4], weight_type), tensor("output_norm", &[width], WeightType::F32)];
    tensors.extend(["attn_norm", "ffn_norm"].map(|name| tensor(&format!("blk.0.{name}"), &[width], WeightType::F32)));
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    tensors.extend(matrices.map(|name| tensor(&format!("blk.0.{name}"), &[width, width], weight_type)));
    let bytes: u64 = tensors.iter().filter_map(WriteTensor::bytes).sum();
    let mut writer = GgufWriter::new(Vec::new(), &metadata, &tensors).expect("a valid header");
    writer.write(&vec![0; bytes as usize]).expect("as many bytes as there are");
    writer.finish().expect("complete")
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("written");
}

fn main() {
    write("gguf", "f32", &model(WeightType::F32, 8));
    write("gguf", "q8_0", &model(WeightType::Q8_0, 32));
    let turns =
        "{% for message in messages %}<|{{ message['role'] }}|>{{ message.content | trim }}{{ eos_token }}{% endfor %}";
    let tools = "{%- if tools %}{{ tools | tojson(indent=2) }}{%- endif %}{%- set ns = namespace(last=none) %}\
                 {%- for m in messages[1:] if m.role != 'user' %}{%- set ns.last = m %}{%- endfor %}{{ ns.last }}";
    let refusal = "{{ bos_token }}{% if messages[0].role != 'user' %}{{ raise_exception('no user') }}{% endif %}";
    let macros = "{% macro item(x) %}{{ x.split('\\n')[-1].upper() }}{% endmacro %}{{ item('a\\nb') }}{{ strftime_now('%d %b') }}";
    for (name, source) in [("turns", turns), ("tools", tools), ("refusal", refusal), ("macros", macros)] {
        write("template", name, source.as_bytes());
    }
    let lists = "<unk>\0<s>\0</s>\0\u{2581}\0a\0b\0ab\0\u{2581}a\0\0a b\0\0\x31\0\x32\0\x32\0\x30\0\x32\0\x33\0\x33\0\0a ab <s> b";
    for choices in [0x01u8, 0x17, 0x00, 0x80] {
        write("tokenizer", &format!("choices-{choices}"), &[&[choices], lists.as_bytes()].concat());
    }
}
