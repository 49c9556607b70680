//! Weights as tensors on a device.

use crate::kernel::Packed;
use crate::model::{Identity, Linear, Model, Shape};
use candle_core::{DType, Device, Result, Tensor};

/// A model on a device. Share it with an `Arc`: all workers of a device read the same weights.
#[derive(Debug)]
pub struct TensorModel {
    /// Sizes.
    pub shape: Shape,
    /// Which model, in which weights: KV of a device is nothing to workers that compute otherwise.
    pub identity: Identity,
    pub(super) device: Device,
    /// Of weights, and of what they are multiplied with.
    pub(super) dtype: DType,
    pub(super) embedding: Tensor,
    pub(super) layers: Vec<TensorLayer>,
    pub(super) norm: Tensor,
    pub(super) output: Tensor,
}

#[derive(Debug)]
pub(super) struct TensorLayer {
    pub(super) attention_norm: Tensor,
    pub(super) qkv: TensorLinear,
    pub(super) out: TensorLinear,
    pub(super) inner_norm: Tensor,
    pub(super) gate_up: TensorLinear,
    pub(super) down: TensorLinear,
}

/// A matrix of `[outputs, inputs]`, and a bias in floats.
#[derive(Debug)]
pub(super) struct TensorLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl TensorModel {
    /// Copies a model to `device`, its matrices in `dtype`: floats on a CPU, bf16 on a GPU that has it. Takes the bytes of
    /// its parameters in that type, and of one matrix in floats on the way.
    ///
    /// # Errors
    /// Where the device has not the memory, or not the type.
    pub fn new(model: &Model, device: &Device, dtype: DType) -> Result<Self> {
        let vector = |values: &[f32]| Tensor::new(values, device);
        let matrix = |parts: &[Packed]| on_device(parts, device, dtype);
        let linear = |linear: &Linear| -> Result<TensorLinear> {
            let bias = linear.bias.as_ref().map(|bias| vector(bias)).transpose()?;
            Ok(TensorLinear { weight: matrix(&linear.parts)?, bias })
        };
        let layers = model.layers.iter().map(|layer| {
            Ok(TensorLayer {
                attention_norm: vector(&layer.attention_norm)?,
                qkv: linear(&layer.qkv)?,
                out: linear(&layer.out)?,
                inner_norm: vector(&layer.inner_norm)?,
                gate_up: linear(&layer.gate_up)?,
                down: linear(&layer.down)?,
            })
        });
        let layers = layers.collect::<Result<_>>()?;
        let embedding = matrix(std::slice::from_ref(&model.embedding))?;
        let output = match &model.output {
            Some(output) => matrix(std::slice::from_ref(output))?,
            None => embedding.clone(),
        };
        let weights = format!("{} as tensors of {}", model.identity.weights, dtype.as_str());
        Ok(Self {
            shape: model.shape.clone(),
            identity: Identity { weights, ..model.identity.clone() },
            device: device.clone(),
            dtype,
            embedding,
            layers,
            norm: vector(&model.norm)?,
            output,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of its weights on the device.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let linear = |linear: &TensorLinear| of(&linear.weight) + linear.bias.as_ref().map_or(0, of);
        let layer = |layer: &TensorLayer| {
            let linears = [&layer.qkv, &layer.out, &layer.gate_up, &layer.down];
            linears.into_iter().map(linear).sum::<usize>() + of(&layer.attention_norm) + of(&layer.inner_norm)
        };
        let output = if self.output.id() == self.embedding.id() { 0 } else { of(&self.output) };
        self.layers.iter().map(layer).sum::<usize>() + of(&self.embedding) + of(&self.norm) + output
    }
}

impl TensorLinear {
    /// `x w^T + b` for rows of floats, `[rows, inputs]` to `[rows, outputs]`.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.to_dtype(self.weight.dtype())?.matmul(&self.weight.t()?)?.to_dtype(DType::F32)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Packed matrices, one below the other.
fn on_device(parts: &[Packed], device: &Device, dtype: DType) -> Result<Tensor> {
    let depth = parts.first().map_or(0, Packed::depth);
    let rows: usize = parts.iter().map(Packed::cols).sum();
    let mut values = vec![0.0; rows * depth];
    let columns = parts.iter().flat_map(|part| (0..part.cols()).map(move |col| (part, col)));
    for (row, (part, col)) in values.chunks_exact_mut(depth).zip(columns) {
        part.column(col, row);
    }
    // Rounded here: what travels to the device is no wider than what stays there.
    Tensor::from_vec(values, (rows, depth), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}
