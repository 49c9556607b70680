//! Bytes per number: of weights, of quantized weights, of keys and values.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// The format of a model's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    Fp16,
    /// IEEE single precision.
    Fp32,
}

impl Dtype {
    /// Bytes of one number.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bf16 | Self::Fp16 => 2,
            Self::Fp32 => 4,
        }
    }
}

impl FromStr for Dtype {
    type Err = UnknownName;

    /// The spellings of vLLM's `--dtype` and of `torch_dtype`, `auto` apart.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "bfloat16" | "bf16" => Ok(Self::Bf16),
            "half" | "float16" | "fp16" => Ok(Self::Fp16),
            "float" | "float32" | "fp32" => Ok(Self::Fp32),
            _ => Err(UnknownName::new("dtype", name, &["bfloat16", "half", "float16", "float", "float32"])),
        }
    }
}

/// How the weights of the linear layers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantization {
    /// As the model's other numbers.
    #[default]
    None,
    /// 8-bit floats, multiplied as such where the GPU can.
    Fp8,
    /// 8-bit integers with 8-bit activations (W8A8).
    Int8,
    /// 4-bit integers in groups of 128 (AWQ), widened before they are multiplied.
    Awq,
    /// 4-bit integers in groups of 128 (GPTQ), widened before they are multiplied.
    Gptq,
    /// 4-bit floats in groups of 16 (NVFP4), multiplied as such where the GPU can.
    Nvfp4,
}

impl Quantization {
    /// Bytes of `params` weights of linear layers.
    ///
    /// A group of 128 4-bit weights carries a 16-bit scale and a 4-bit zero point: 4.15625 bits a weight. Scales of the
    /// 8-bit formats are per channel or per tensor, below 0.1 %, and left out. A group of 16 NVFP4 weights carries an 8-bit
    /// scale: 4.5 bits a weight.
    #[must_use]
    pub const fn linear_bytes(self, params: u64, dtype: Dtype) -> u64 {
        match self {
            Self::None => params * dtype.bytes(),
            Self::Fp8 | Self::Int8 => params,
            Self::Awq | Self::Gptq => params.div_ceil(128) * (128 * 4 + 16 + 4) / 8,
            Self::Nvfp4 => params.div_ceil(16) * (16 * 4 + 8) / 8,
        }
    }
}

impl FromStr for Quantization {
    type Err = UnknownName;

    /// The spellings of vLLM's `--quantization` and of `quant_method` that podlab can price.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "none" => Ok(Self::None),
            "fp8" | "fbgemm_fp8" => Ok(Self::Fp8),
            "int8" => Ok(Self::Int8),
            "awq" | "awq_marlin" => Ok(Self::Awq),
            "gptq" | "gptq_marlin" => Ok(Self::Gptq),
            "nvfp4" | "modelopt_fp4" => Ok(Self::Nvfp4),
            _ => Err(UnknownName::new("quantization", name, &["none", "fp8", "int8", "awq", "gptq", "nvfp4"])),
        }
    }
}

/// The format of cached keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvDtype {
    /// As the model's numbers.
    #[default]
    Auto,
    /// 8-bit floats.
    Fp8,
    /// 16-bit floats, whatever the model has.
    Bf16,
}

impl KvDtype {
    /// Bytes of one number in the cache of a model of this format.
    #[must_use]
    pub const fn bytes(self, model: Dtype) -> u64 {
        match self {
            Self::Auto => model.bytes(),
            Self::Fp8 => 1,
            Self::Bf16 => 2,
        }
    }
}

impl FromStr for KvDtype {
    type Err = UnknownName;

    /// The spellings of vLLM's `--kv-cache-dtype`.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "auto" => Ok(Self::Auto),
            "fp8" | "fp8_e4m3" | "fp8_e5m2" => Ok(Self::Fp8),
            "bfloat16" | "float16" => Ok(Self::Bf16),
            _ => Err(UnknownName::new("KV cache dtype", name, &["auto", "fp8", "fp8_e4m3", "fp8_e5m2", "bfloat16"])),
        }
    }
}

/// A name that stands for no format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What was to be named.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// The names there are.
    pub known: &'static [&'static str],
}

impl UnknownName {
    fn new(what: &'static str, name: &str, known: &'static [&'static str]) -> Self {
        Self { what, name: name.to_string(), known }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {} `{}`: one of {}", self.what, self.name, self.known.join(", "))
    }
}

impl core::error::Error for UnknownName {}
