//! Models of the families llama and qwen2 from GGUF files.

use super::stored::{Order, pack};
use super::weights::Identifier;
use super::{Layer, Linear, Model, Rope, Shape, Unreadable};
use crate::kernel::Packed;
use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Reads a model, and what else the file says.
///
/// # Errors
/// Where the file cannot be read, lacks something, or holds another kind of model.
pub fn read_gguf(path: &Path) -> Result<(Model, Content), Unreadable> {
    let unreadable = |error| Unreadable::File { path: path.to_owned(), error };
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(unreadable)?);
    let content = Content::read(&mut file)?;
    let mut reader = Reader { file, content: &content, seen: Identifier::default() };
    let (shape, order) = reader.shape()?;
    let embedding = reader.matrix("token_embd.weight", Order::Kept)?;
    let output = match content.tensor_infos.contains_key("output.weight") {
        true => Some(reader.matrix("output.weight", Order::Kept)?),
        false => None,
    };
    let norm = reader.floats("output_norm.weight")?;
    let layers = (0..shape.layers).map(|at| reader.layer(at, &shape, order)).collect::<Result<_, _>>()?;
    let name = reader.text("general.name").unwrap_or_else(|_| stem(path));
    let identity = reader.seen.finish(name, &shape);
    Ok((Model { shape, identity, embedding, layers, norm, output }, content))
}

/// A file's name without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
}

struct Reader<'a> {
    file: BufReader<File>,
    content: &'a Content,
    seen: Identifier,
}

impl Reader<'_> {
    fn value(&self, key: &str) -> Result<&Value, Unreadable> {
        self.content.metadata.get(key).ok_or_else(|| Unreadable::Lacks(key.into()))
    }

    fn text(&self, key: &str) -> Result<String, Unreadable> {
        Ok(self.value(key)?.to_string()?.clone())
    }

    fn tensor(&mut self, name: &str) -> Result<QTensor, Unreadable> {
        if !self.content.tensor_infos.contains_key(name) {
            return Err(Unreadable::Lacks(format!("tensor {name}")));
        }
        let tensor = self.content.tensor(&mut self.file, name, &Device::Cpu)?;
        self.seen.saw(name, &format!("{:?}{:?}", tensor.dtype(), tensor.shape()), &tensor.data()?);
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, order: Order) -> Result<Packed, Unreadable> {
        let tensor = self.tensor(name)?;
        pack(&tensor, order, &mut self.seen)
    }

    fn floats(&mut self, name: &str) -> Result<Vec<f32>, Unreadable> {
        Ok(self.tensor(name)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    }

    /// Sizes, and how rows of queries and keys are ordered.
    fn shape(&mut self) -> Result<(Shape, Order), Unreadable> {
        let family = self.text("general.architecture")?;
        if !["llama", "qwen2"].contains(&family.as_str()) {
            return Err(Unreadable::Unsupported(format!(
                "a model of the family {family}: llama and qwen2 are computed"
            )));
        }
        let key = |name: &str| format!("{family}.{name}");
        let whole = |name: &str| -> Result<usize, Unreadable> { Ok(self.value(&key(name))?.to_u32()? as usize) };
        let (hidden, heads) = (whole("embedding_length")?, whole("attention.head_count")?);
        if heads == 0 {
            return Err(Unreadable::Unsupported("a model without heads".into()));
        }
        if whole("expert_count").is_ok_and(|experts| experts > 0) {
            return Err(Unreadable::Unsupported("a mixture of experts".into()));
        }
        let dim = whole("attention.key_length").unwrap_or(hidden / heads);
        let theta = self.value(&key("rope.freq_base")).ok().map(Value::to_f32).transpose()?.unwrap_or(10_000.0);
        let mut rope = Rope::plain(f64::from(theta), dim);
        if let Ok(kind) = self.text(&key("rope.scaling.type"))
            && kind != "none"
        {
            let factor = self.value(&key("rope.scaling.factor"))?.to_f32()?;
            match kind.as_str() {
                "linear" => rope = rope.divided(&vec![factor; dim / 2]),
                _ => return Err(Unreadable::Unsupported(format!("positions scaled by {kind}"))),
            }
        }
        let tokens = self.content.tensor_infos.get("token_embd.weight").map_or(0, |info| info.shape.dims()[0]);
        let shape = Shape {
            layers: whole("block_count")?,
            hidden,
            inner: whole("feed_forward_length")?,
            heads,
            kv_heads: whole("attention.head_count_kv").unwrap_or(heads),
            dim,
            vocab: tokens,
            eps: self.value(&key("attention.layer_norm_rms_epsilon"))?.to_f32()?,
            context: whole("context_length")?,
            rope,
        };
        let order = if family == "llama" { Order::Interleaved(dim) } else { Order::Kept };
        let factors = match self.content.tensor_infos.contains_key("rope_freqs.weight") {
            true => Some(self.floats("rope_freqs.weight")?),
            false => None,
        };
        let shape = match factors {
            Some(factors) => Shape { rope: shape.rope.clone().divided(&factors), ..shape },
            None => shape,
        };
        Ok((shape.checked()?, order))
    }

    fn layer(&mut self, at: usize, shape: &Shape, order: Order) -> Result<Layer, Unreadable> {
        let name = |what: &str| format!("blk.{at}.{what}");
        let mut qkv = Vec::new();
        let mut bias = Vec::new();
        for (what, order) in [("attn_q", order), ("attn_k", order), ("attn_v", Order::Kept)] {
            qkv.push(self.matrix(&name(&format!("{what}.weight")), order)?);
            let name = name(&format!("{what}.bias"));
            if self.content.tensor_infos.contains_key(&name) {
                let floats = self.floats(&name)?;
                bias.extend((0..floats.len()).map(|col| floats[order.row(col)]));
            }
        }
        let bias = (!bias.is_empty()).then_some(bias);
        let gate_up = vec![
            self.matrix(&name("ffn_gate.weight"), Order::Kept)?,
            self.matrix(&name("ffn_up.weight"), Order::Kept)?,
        ];
        let layer = Layer {
            attention_norm: self.floats(&name("attn_norm.weight"))?,
            qkv: Linear::new(qkv, bias),
            out: Linear::new(vec![self.matrix(&name("attn_output.weight"), Order::Kept)?], None),
            inner_norm: self.floats(&name("ffn_norm.weight"))?,
            gate_up: Linear::new(gate_up, None),
            down: Linear::new(vec![self.matrix(&name("ffn_down.weight"), Order::Kept)?], None),
        };
        layer.checked(shape)
    }
}
