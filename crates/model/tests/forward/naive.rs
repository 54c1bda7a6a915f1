//! The Llama forward again, in double precision, one whole sequence at a time: no cache, no pages, no batch, no kernels.

use std::collections::HashMap;

use sconce_kernels::RopePairs;
use sconce_kernels::reference::{attention, rope, rope_frequencies};
use sconce_model::{Checkpoint, Device, LlamaConfig, RopeScaling};

/// Weights as doubles, by name.
pub(crate) struct NaiveLlama {
    config: LlamaConfig,
    weights: HashMap<String, Vec<f64>>,
    frequencies: Vec<f64>,
    pairs: RopePairs,
}

impl NaiveLlama {
    pub(crate) fn new(file: &Checkpoint, config: &LlamaConfig) -> Self {
        let mut weights = HashMap::new();
        for info in file.tensors() {
            let weight = file.weight(&info.name, &Device::Cpu).expect("a weight").dequantize().expect("floats");
            let values = weight.flatten_all().and_then(|tensor| tensor.to_vec1::<f32>()).expect("floats");
            weights.insert(info.name.clone(), values.into_iter().map(f64::from).collect());
        }
        let factors: Option<Vec<f32>> =
            weights.get("rope_freqs.weight").map(|factors: &Vec<f64>| factors.iter().map(|f| *f as f32).collect());
        let rope = &config.rope;
        let scale = match rope.scaling {
            RopeScaling::Linear { factor } => factor,
            _ => 1.0,
        };
        let frequencies = rope_frequencies(rope.dimensions, rope.frequency_base, scale, factors.as_deref());
        let pairs = match config.architecture.name() {
            "llama" | "mistral3" => RopePairs::Neighbours,
            _ => RopePairs::Halves,
        };
        let mut naive = Self { config: config.clone(), weights, frequencies, pairs };
        naive.cut_fused();
        naive
    }

    /// Cuts fused projections into those of Llama, by rows.
    fn cut_fused(&mut self) {
        let width = self.config.embedding_length;
        for layer in 0..self.config.block_count {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            if let Some(mut fused) = self.weights.remove(&name("attn_qkv")) {
                let values = fused.split_off((self.config.query_width() + self.config.kv_width()) * width);
                let keys = fused.split_off(self.config.query_width() * width);
                for (part, rows) in [("attn_q", fused), ("attn_k", keys), ("attn_v", values)] {
                    self.weights.insert(name(part), rows);
                }
                let mut gate = self.weights.remove(&name("ffn_up")).expect("gate and up");
                let up = gate.split_off(self.config.feed_forward_length * width);
                self.weights.insert(name("ffn_gate"), gate);
                self.weights.insert(name("ffn_up"), up);
            }
        }
    }

    /// A projection for attention with its bias, where there is one, and its heads normalized, where they are.
    fn project_heads(&self, normed: &[f64], layer: usize, part: &str) -> Vec<f64> {
        let mut row = self.project(normed, &format!("blk.{layer}.{part}.weight"));
        if let Some(bias) = self.weights.get(&format!("blk.{layer}.{part}.bias")) {
            add(&mut row, bias);
        }
        let norm = format!("blk.{layer}.{part}_norm.weight");
        if self.weights.contains_key(&norm) {
            row = row.chunks_exact(self.config.head_dim).flat_map(|head| self.norm(head, &norm)).collect();
        }
        row
    }

    /// Logits of every position.
    pub(crate) fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let width = self.config.embedding_length;
        let table = &self.weights["token_embd.weight"];
        let mut stream: Vec<Vec<f64>> =
            tokens.iter().map(|token| table[*token as usize * width..][..width].to_vec()).collect();
        for layer in 0..self.config.block_count {
            self.attend(layer, &mut stream);
            for row in &mut stream {
                let normed = self.norm(row, &format!("blk.{layer}.ffn_norm.weight"));
                let gate = self.project(&normed, &format!("blk.{layer}.ffn_gate.weight"));
                let up = self.project(&normed, &format!("blk.{layer}.ffn_up.weight"));
                let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                add(row, &self.project(&inner, &format!("blk.{layer}.ffn_down.weight")));
            }
        }
        let output = if self.weights.contains_key("output.weight") { "output.weight" } else { "token_embd.weight" };
        stream.iter().map(|row| self.project(&self.norm(row, "output_norm.weight"), output)).collect()
    }

    fn attend(&self, layer: usize, stream: &mut [Vec<f64>]) {
        let LlamaConfig { head_dim, head_count, head_count_kv, .. } = self.config;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (position, row) in stream.iter().enumerate() {
            let normed = self.norm(row, &name("attn_norm"));
            queries.push(self.rotate(&self.project_heads(&normed, layer, "attn_q"), position));
            keys.push(self.rotate(&self.project_heads(&normed, layer, "attn_k"), position));
            values.push(self.project_heads(&normed, layer, "attn_v"));
        }
        for (position, row) in stream.iter_mut().enumerate() {
            let first = self.config.sliding_window.map_or(0, |window| (position + 1).saturating_sub(window));
            let mut attended = Vec::new();
            for head in 0..head_count {
                let shared = head / (head_count / head_count_kv);
                let gather = |rows: &[Vec<f64>]| -> Vec<f64> {
                    rows[first..=position]
                        .iter()
                        .flat_map(|row| row[shared * head_dim..][..head_dim].to_vec())
                        .collect()
                };
                let query = &queries[position][head * head_dim..][..head_dim];
                attended.extend(attention(query, &gather(&keys), &gather(&values)));
            }
            add(row, &self.project(&attended, &name("attn_output")));
        }
    }

    fn rotate(&self, row: &[f64], position: usize) -> Vec<f64> {
        let turned = |head| rope(head, position as u32, &self.frequencies, self.pairs, 1.0);
        row.chunks_exact(self.config.head_dim).flat_map(turned).collect()
    }

    fn norm(&self, row: &[f64], weight: &str) -> Vec<f64> {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(self.config.rms_epsilon)).sqrt();
        row.iter().zip(&self.weights[weight]).map(|(x, w)| x * scale * w).collect()
    }

    fn project(&self, row: &[f64], weight: &str) -> Vec<f64> {
        self.weights[weight]
            .chunks_exact(row.len())
            .map(|weights| weights.iter().zip(row).map(|(w, x)| w * x).sum())
            .collect()
    }
}

fn add(row: &mut [f64], update: &[f64]) {
    row.iter_mut().zip(update).for_each(|(place, update)| *place += update);
}
