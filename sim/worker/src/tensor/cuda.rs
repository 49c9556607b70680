//! The GPU's own part: copies on a stream of their own, host memory that it reaches by itself, and what it says of itself.
//!
//! Passes run on candle's stream. A copy waits on the side stream for a mark of that one, and its end is waited for by the
//! thread that ordered it, never by a pass; so bytes cross PCIe while kernels run. Host memory is page-locked, and used again
//! by objects of the same size, since locking pages stops the device.

#![allow(unsafe_code)]

use super::lane::Mark;
use crate::block::{HEADER, Passport};
use crate::depot::{Bytes, Memory};
use candle_core::cuda::cudarc::driver::{CudaContext, CudaEvent, CudaStream, DevicePtr, PinnedHostSlice, result, sys};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Error, Result, Storage, Tensor};
use half::f16;
use kvcache::BlockHash;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

/// Page-locked memory that is free, by its length.
type Free = Mutex<BTreeMap<usize, Vec<PinnedHostSlice<u8>>>>;

/// The side stream of a worker.
#[derive(Debug)]
pub struct Side {
    device: CudaDevice,
    compute: Arc<CudaStream>,
    stream: Arc<CudaStream>,
    free: Arc<Free>,
}

/// An object in page-locked memory.
#[derive(Debug)]
struct Pinned {
    /// `None` only while it is dropped.
    slice: Option<PinnedHostSlice<u8>>,
    free: Weak<Free>,
}

impl Memory for Pinned {
    fn bytes(&self) -> &[u8] {
        let slice = self.slice.as_ref().expect("it is there until it is dropped");
        slice.as_slice().expect("nothing copies to it any more")
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let (Some(slice), Some(free)) = (self.slice.take(), self.free.upgrade()) {
            let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
            free.entry(slice.len()).or_default().push(slice);
        }
    }
}

impl Side {
    /// A stream beside the one on which `device` computes.
    ///
    /// # Errors
    /// Where the driver gives none.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let compute = device.cuda_stream();
        let stream = compute.context().new_stream().map_err(Error::wrap)?;
        Ok(Self { device: device.clone(), compute, stream, free: Arc::default() })
    }

    fn context(&self) -> &Arc<CudaContext> {
        self.stream.context()
    }

    /// What passes were ordered so far is done then.
    pub(super) fn mark(&self) -> Result<CudaEvent> {
        self.compute.record_event(None).map_err(Error::wrap)
    }

    fn host(&self, bytes: usize) -> Result<PinnedHostSlice<u8>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = free.get_mut(&bytes).and_then(Vec::pop) {
            return Ok(slice);
        }
        drop(free);
        // SAFETY: what it holds at first is bytes, whatever they are, and all of them are written before they are read.
        // Not write-combined, which cudarc's other function would give: the CPU reads it to check sums.
        unsafe { self.context().alloc_pinned_with_flags::<u8>(bytes, 0) }.map_err(Error::wrap)
    }

    /// Copies staged pages off the device, as blocks with these names.
    ///
    /// # Errors
    /// Where memory cannot be locked, or the device fails.
    pub(super) fn fetch(
        &self,
        staged: &Tensor,
        mark: &Mark,
        passport: &Passport,
        names: &[BlockHash],
    ) -> Result<Bytes> {
        let block = passport.bytes();
        let mut slice = self.host(names.len() * block)?;
        if let Some(event) = &mark.event {
            self.stream.wait(event).map_err(Error::wrap)?;
        }
        let bytes = slice.as_mut_slice().map_err(Error::wrap)?;
        {
            let (storage, layout) = staged.storage_and_layout();
            let Storage::Cuda(storage) = &*storage else { candle_core::bail!("staged pages lie on the device") };
            let from = storage.as_cuda_slice::<f16>()?;
            let (start, _kept) = from.device_ptr(&self.stream);
            let start = start + 2 * layout.start_offset() as u64;
            self.context().bind_to_thread().map_err(Error::wrap)?;
            for (number, block) in bytes.chunks_exact_mut(block).enumerate() {
                let payload = &mut block[HEADER..];
                let from = start + (number * payload.len()) as u64;
                // SAFETY: `staged` is as long as its blocks' payloads together and lives until the stream has been waited
                // for below, as does the slice, which nobody else has.
                unsafe { result::memcpy_dtoh_async(payload, from, self.stream.cu_stream()) }.map_err(Error::wrap)?;
            }
            self.stream.synchronize().map_err(Error::wrap)?;
        }
        for (block, name) in bytes.chunks_exact_mut(block).zip(names) {
            passport.head(block, *name);
        }
        Ok(Bytes::new(Pinned { slice: Some(slice), free: Arc::downgrade(&self.free) }))
    }

    /// Copies payloads to the device, one below the other.
    ///
    /// # Errors
    /// Where the device has not the memory, or fails.
    pub(super) fn bring(&self, payloads: &[&[u8]], shape: (usize, usize)) -> Result<Tensor> {
        // SAFETY: all of it is written below before anybody reads it.
        let slice = unsafe { self.stream.alloc::<f16>(shape.0 * shape.1) }.map_err(Error::wrap)?;
        {
            let (start, _kept) = slice.device_ptr(&self.stream);
            self.context().bind_to_thread().map_err(Error::wrap)?;
            for (number, payload) in payloads.iter().enumerate() {
                let to = start + (number * payload.len()) as u64;
                // SAFETY: the slice is as long as the payloads together, and they live until the stream has been waited for.
                unsafe { result::memcpy_htod_async(to, payload, self.stream.cu_stream()) }.map_err(Error::wrap)?;
            }
            self.stream.synchronize().map_err(Error::wrap)?;
        }
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, self.device.clone()));
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }
}

/// What a GPU says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Bytes of its memory: free, and all.
    pub memory: (usize, usize),
    /// Bytes per second between page-locked host memory and it: from it, and to it, as measured with copies of 64 MiB.
    pub pcie: (f64, f64),
}

impl Card {
    /// Whether it multiplies in bf16.
    #[must_use]
    pub fn has_bf16(&self) -> bool {
        self.capability.0 >= 8
    }

    /// The type that weights take on it.
    #[must_use]
    pub fn dtype(&self) -> DType {
        if self.has_bf16() { DType::BF16 } else { DType::F16 }
    }
}

/// Opens the GPU of a number, with a stream of its own; reads what it is, and measures how fast bytes go to and from it.
///
/// # Errors
/// Where there is no such GPU, or no driver.
pub fn open(ordinal: usize) -> Result<(Device, Card)> {
    let cuda = CudaDevice::new_with_stream(ordinal)?;
    let context = Arc::clone(cuda.cuda_stream().context());
    let attribute = |which| context.attribute(which).map_err(Error::wrap);
    let capability = (
        attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    let side = Side::new(&cuda)?;
    let card = Card {
        name: context.name().map_err(Error::wrap)?,
        capability,
        memory: context.mem_get_info().map_err(Error::wrap)?,
        pcie: speed(&side)?,
    };
    Ok((Device::Cuda(cuda), card))
}

/// Bytes of memory that a GPU has left.
///
/// # Errors
/// Where the driver does not say.
pub fn free(device: &CudaDevice) -> Result<u64> {
    let (free, _) = device.cuda_stream().context().mem_get_info().map_err(Error::wrap)?;
    Ok(free as u64)
}

/// The best of five copies each way: what the link gives, without who else uses it at times.
fn speed(side: &Side) -> Result<(f64, f64)> {
    const BYTES: usize = 64 << 20;
    let mut host = side.host(BYTES)?;
    let mut there = side.stream.alloc_zeros::<u8>(BYTES).map_err(Error::wrap)?;
    let mut best = (0f64, 0f64);
    for _ in 0..5 {
        side.stream.synchronize().map_err(Error::wrap)?;
        let began = Instant::now();
        side.stream.memcpy_dtoh(&there, &mut host).map_err(Error::wrap)?;
        side.stream.synchronize().map_err(Error::wrap)?;
        best.0 = best.0.max(BYTES as f64 / began.elapsed().as_secs_f64());
        let began = Instant::now();
        side.stream.memcpy_htod(&host, &mut there).map_err(Error::wrap)?;
        side.stream.synchronize().map_err(Error::wrap)?;
        best.1 = best.1.max(BYTES as f64 / began.elapsed().as_secs_f64());
    }
    Ok(best)
}
