//! The weights of a model, shared by all workers of a process, and what tells them from others.

use super::{Shape, Unreadable};
use crate::kernel::{Acts, Into, Level, Matrix, PANEL, Packed, Team, linear};
use xxhash_rust::xxh3::Xxh3;

/// A model: weights that nobody writes. Share it with an `Arc`.
#[derive(Debug)]
pub struct Model {
    /// Sizes.
    pub shape: Shape,
    /// Which model, and in which weights.
    pub identity: Identity,
    /// One column per token.
    pub embedding: Packed,
    /// Layers.
    pub layers: Vec<Layer>,
    /// Weight of the last norm.
    pub norm: Vec<f32>,
    /// One column per token; `None`: the embedding's.
    pub output: Option<Packed>,
}

/// One layer.
#[derive(Debug)]
pub struct Layer {
    /// Weight of the norm before attention.
    pub attention_norm: Vec<f32>,
    /// Queries, keys, values.
    pub qkv: Linear,
    /// From heads to the row.
    pub out: Linear,
    /// Weight of the norm before the second half.
    pub inner_norm: Vec<f32>,
    /// Gates, then ups.
    pub gate_up: Linear,
    /// Back to the row.
    pub down: Linear,
}

/// One or more matrices with the same inputs, outputs side by side.
#[derive(Debug)]
pub struct Linear {
    /// The matrices.
    pub parts: Vec<Packed>,
    /// One value per output.
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    /// Matrices side by side; those of a kind become one.
    #[must_use]
    pub fn new(parts: Vec<Packed>, bias: Option<Vec<f32>>) -> Self {
        Self { parts: Packed::join(parts), bias }
    }

    /// Outputs.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.parts.iter().map(Packed::cols).sum()
    }

    /// Bytes that a pass reads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Packed::bytes).sum()
    }

    pub(super) fn apply(&self, level: Level, team: &Team, x: &Acts, y: &mut Matrix, add: bool) {
        let mut from = 0;
        for part in &self.parts {
            let cols = part.panels() * PANEL;
            let into = match &self.bias {
                Some(bias) => Into::Biased(&bias[from..from + cols]),
                None if add => Into::Add,
                None => Into::Set,
            };
            linear(level, team, part, x, y, from, into);
            from += cols;
        }
    }
}

/// Which model, in which weights: KV blocks of one are worth nothing to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it calls itself.
    pub name: String,
    /// A hash (XXH3, 128 bits) of sizes and tensors.
    pub hash: u128,
    /// How weights are held: the types of the file, `a>b` where a became b.
    pub weights: String,
}

/// Takes the identity while tensors are read.
#[derive(Default)]
pub(super) struct Identifier {
    hash: Xxh3,
    kinds: std::collections::BTreeSet<String>,
}

impl Identifier {
    pub(super) fn saw(&mut self, name: &str, kind: &str, bytes: &[u8]) {
        self.hash.update(name.as_bytes());
        self.hash.update(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(kind.as_bytes());
        self.hash.update(bytes);
    }

    pub(super) fn held(&mut self, kind: impl std::convert::Into<String>) {
        self.kinds.insert(kind.into());
    }

    pub(super) fn finish(mut self, name: String, shape: &Shape) -> Identity {
        self.hash.update(format!("{shape:?}").as_bytes());
        let kinds: Vec<_> = self.kinds.into_iter().collect();
        Identity { name, hash: self.hash.digest128(), weights: kinds.join("+") }
    }
}

impl Model {
    /// What turns rows into scores of tokens.
    #[must_use]
    pub fn output(&self) -> &Packed {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Bytes of weights that a pass with one row reads, but for the row of the embedding.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        let norms = 4 * (self.norm.len() + 2 * self.layers.len() * self.shape.hidden);
        let linears = |layer: &Layer| {
            [&layer.qkv, &layer.out, &layer.gate_up, &layer.down].into_iter().map(Linear::bytes).sum::<usize>()
        };
        norms + self.layers.iter().map(linears).sum::<usize>() + self.output().bytes()
    }

    /// Bytes of all weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.read_bytes() + if self.output.is_some() { self.embedding.bytes() } else { 0 }
    }
}

impl Layer {
    /// Refuses matrices of other sizes than the model says.
    pub(super) fn checked(self, shape: &Shape) -> Result<Self, Unreadable> {
        let heads = shape.heads * shape.dim;
        let expected = [
            ("attention", &self.qkv, shape.hidden, heads + shape.kv_width()),
            ("attention's output", &self.out, heads, shape.hidden),
            ("gates", &self.gate_up, shape.hidden, 2 * shape.inner),
            ("the inner rows' output", &self.down, shape.inner, shape.hidden),
        ];
        for (name, linear, depth, cols) in expected {
            let deep = linear.parts.iter().all(|part| part.depth() == depth);
            let biased = linear.bias.as_ref().is_none_or(|bias| bias.len() == cols);
            if !deep || linear.cols() != cols || !biased {
                return Err(Unreadable::Unsupported(format!("{name}: not a matrix from {depth} to {cols}")));
            }
        }
        if self.attention_norm.len() != shape.hidden || self.inner_norm.len() != shape.hidden {
            return Err(Unreadable::Unsupported("norms of another size than rows".into()));
        }
        Ok(self)
    }
}

impl Model {
    /// All matrices and norms as floats, by the names and in the order that Hugging Face's Llama has: name, rows, columns,
    /// values. For comparison with other implementations; takes eight times the memory of the model.
    #[must_use]
    pub fn floats(&self) -> Vec<(String, usize, usize, Vec<f32>)> {
        let matrix = |name: String, packed: &[Packed]| {
            let (depth, mut values) = (packed[0].depth(), Vec::new());
            for (part, col) in packed.iter().flat_map(|part| (0..part.cols()).map(move |col| (part, col))) {
                let from = values.len();
                values.resize(from + depth, 0.0);
                part.column(col, &mut values[from..]);
            }
            (name, values.len() / depth, depth, values)
        };
        let norm = |name: String, values: &[f32]| (name, 1, values.len(), values.to_vec());
        let mut all = vec![matrix("model.embed_tokens.weight".into(), std::slice::from_ref(&self.embedding))];
        if let Some(output) = &self.output {
            all.push(matrix("lm_head.weight".into(), std::slice::from_ref(output)));
        }
        all.push(norm("model.norm.weight".into(), &self.norm));
        let (heads, kv) = (self.shape.heads * self.shape.dim, self.shape.kv_width() / 2);
        for (at, layer) in self.layers.iter().enumerate() {
            let name = |what: &str| format!("model.layers.{at}.{what}.weight");
            all.push(norm(name("input_layernorm"), &layer.attention_norm));
            all.push(norm(name("post_attention_layernorm"), &layer.inner_norm));
            let mut split = |linear: &Linear, names: &[(&str, usize)]| {
                let (_, _, depth, values) = matrix(String::new(), &linear.parts);
                let mut from = 0;
                for (what, rows) in names {
                    let upto = from + rows * depth;
                    all.push((name(what), *rows, depth, values[from..upto].to_vec()));
                    from = upto;
                }
            };
            split(&layer.qkv, &[("self_attn.q_proj", heads), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)]);
            split(&layer.out, &[("self_attn.o_proj", self.shape.hidden)]);
            split(&layer.gate_up, &[("mlp.gate_proj", self.shape.inner), ("mlp.up_proj", self.shape.inner)]);
            split(&layer.down, &[("mlp.down_proj", self.shape.hidden)]);
        }
        all
    }
}
