//! The way between a device and host memory.

use crate::block::Passport;
use crate::depot::Bytes;
use candle_core::{Device, Result, Tensor};
use half::f16;
use kvcache::BlockHash;

/// By which way bytes go.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    /// Through the heap, by candle's own copies.
    Heap(Device),
    /// On a stream of its own, between the GPU and memory that it reaches by itself.
    #[cfg(feature = "cuda")]
    Side(std::sync::Arc<super::cuda::Side>),
}

/// A moment in the order of a device's work, after which something is ready. By default: it is ready now.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    #[cfg(feature = "cuda")]
    pub(super) event: Option<candle_core::cuda::cudarc::driver::CudaEvent>,
}

impl Lane {
    /// The way to and from a device.
    ///
    /// # Errors
    /// Where a GPU gives no further stream.
    pub(crate) fn of(device: &Device) -> Result<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => Ok(Self::Side(std::sync::Arc::new(super::cuda::Side::new(cuda)?))),
            _ => Ok(Self::Heap(device.clone())),
        }
    }

    /// What the device was told to compute so far is ready then.
    pub(crate) fn mark(&self) -> Result<Mark> {
        match self {
            Self::Heap(_) => Ok(Mark::default()),
            #[cfg(feature = "cuda")]
            Self::Side(side) => Ok(Mark { event: Some(side.mark()?) }),
        }
    }

    /// Copies staged pages, `[pages, halves]`, off the device: as blocks with these names, one after the other.
    pub(crate) fn fetch(
        &self,
        staged: &Tensor,
        mark: &Mark,
        passport: &Passport,
        names: &[BlockHash],
    ) -> Result<Bytes> {
        match self {
            Self::Heap(_) => {
                let _ = mark;
                let mut bytes = Vec::with_capacity(names.len() * passport.bytes());
                for (halves, name) in staged.to_vec2::<f16>()?.iter().zip(names) {
                    passport.seal(halves.iter().map(|half| half.to_bits()), *name, &mut bytes);
                }
                Ok(bytes.into())
            }
            #[cfg(feature = "cuda")]
            Self::Side(side) => side.fetch(staged, mark, passport, names),
        }
    }

    /// Copies the payloads of blocks to the device, `[pages, halves]`; `None`: there are none.
    pub(crate) fn bring(&self, payloads: &[&[u8]]) -> Result<Option<Tensor>> {
        let Some(first) = payloads.first() else { return Ok(None) };
        let shape = (payloads.len(), first.len() / 2);
        match self {
            Self::Heap(device) => {
                let halves = payloads.iter().flat_map(|payload| payload.as_chunks::<2>().0);
                let halves: Vec<f16> = halves.map(|half| f16::from_le_bytes(*half)).collect();
                Tensor::from_vec(halves, shape, device).map(Some)
            }
            #[cfg(feature = "cuda")]
            Self::Side(side) => side.bring(payloads, shape).map(Some),
        }
    }
}
