//! The KV cache as tensors: for each layer keys and values of all slots, a page's slots side by side.
//!
//! A slot is a token's place: page times tokens per page, plus its place on the page. Pages leave and enter in one piece, as
//! [`crate::pages`] lays them out (keys by dimension), so that what a block is does not depend on the device.

use crate::pages::{PageId, PageShape};
use candle_core::{DType, Device, Result, Tensor};

/// Pages on a device.
#[derive(Debug)]
pub struct TensorPages {
    shape: PageShape,
    device: Device,
    /// Of each layer, `[slots, heads * dim]` in halves.
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
}

/// Places of some tokens, on the device.
pub(super) struct Slots {
    /// `[tokens]`.
    pub(super) flat: Tensor,
    /// The same for every value of a row: `[tokens, heads * dim]`.
    spread: Option<Tensor>,
}

impl TensorPages {
    /// `count` pages of zeros; takes all of their memory.
    ///
    /// # Errors
    /// Where the device has not so much.
    ///
    /// # Panics
    /// Where a page has a number of tokens that is no multiple of 8, or a layer more slots than a u32 counts.
    pub fn new(shape: PageShape, count: usize, device: &Device) -> Result<Self> {
        assert!(shape.tokens > 0 && shape.tokens.is_multiple_of(8), "pages hold a multiple of 8 tokens");
        assert!(u32::try_from(count * shape.tokens).is_ok(), "slots are counted in 32 bits");
        let layer = |_| Tensor::zeros((count * shape.tokens, shape.heads * shape.dim), DType::F16, device);
        let all = || (0..shape.layers).map(layer).collect::<Result<Vec<_>>>();
        Ok(Self { shape, device: device.clone(), keys: all()?, values: all()? })
    }

    /// What a page holds.
    #[must_use]
    pub fn shape(&self) -> PageShape {
        self.shape
    }

    /// Where they are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Places of the first `tokens` of a sequence on `pages`, to be read.
    pub(super) fn slots_of(&self, pages: &[PageId], tokens: usize) -> Result<Slots> {
        let size = self.shape.tokens;
        let slots: Vec<u32> =
            (0..tokens).map(|position| pages[position / size].0 * size as u32 + (position % size) as u32).collect();
        Ok(Slots { flat: Tensor::new(slots, &self.device)?, spread: None })
    }

    /// These places, to be written to.
    pub(super) fn slots_at(&self, places: &[(PageId, usize)]) -> Result<Slots> {
        let slots: Vec<u32> =
            places.iter().map(|(page, slot)| page.0 * self.shape.tokens as u32 + *slot as u32).collect();
        self.spread(Tensor::new(slots, &self.device)?)
    }

    fn spread(&self, flat: Tensor) -> Result<Slots> {
        let width = self.shape.heads * self.shape.dim;
        let spread = flat.unsqueeze(1)?.broadcast_as((flat.elem_count(), width))?.contiguous()?;
        Ok(Slots { flat, spread: Some(spread) })
    }

    /// Writes keys and values, `[tokens, heads * dim]` in floats, rounded to halves here and nowhere else.
    pub(super) fn write(&self, layer: usize, slots: &Slots, keys: &Tensor, values: &Tensor) -> Result<()> {
        let spread = slots.spread.as_ref().expect("places to write to are spread");
        let most = half::f16::MAX.to_f64();
        for (pool, rows) in [(&self.keys[layer], keys), (&self.values[layer], values)] {
            // As on the CPU: what is greater than the greatest half becomes that.
            let halves = rows.clamp(-most, most)?.to_dtype(DType::F16)?.contiguous()?;
            pool.scatter_set(spread, &halves, 0)?;
        }
        Ok(())
    }

    /// Keys and values at these places, `[tokens, heads, dim]` in floats.
    pub(super) fn read(&self, layer: usize, slots: &Slots) -> Result<(Tensor, Tensor)> {
        let PageShape { heads, dim, .. } = self.shape;
        let of = |pool: &Tensor| {
            pool.index_select(&slots.flat, 0)?.to_dtype(DType::F32)?.reshape((slots.flat.elem_count(), heads, dim))
        };
        Ok((of(&self.keys[layer])?, of(&self.values[layer])?))
    }

    fn slots_on(&self, pages: &[PageId]) -> Result<Slots> {
        let size = self.shape.tokens as u32;
        let slots: Vec<u32> = pages.iter().flat_map(|page| page.0 * size..(page.0 + 1) * size).collect();
        self.spread(Tensor::new(slots, &self.device)?)
    }

    /// Copies pages to one piece of memory on the device, `[pages, halves of a page]`.
    ///
    /// # Errors
    /// Where the device has not the memory.
    pub fn gather(&self, pages: &[PageId]) -> Result<Tensor> {
        let PageShape { layers, heads, dim, tokens } = self.shape;
        let slots = self.slots_on(pages)?;
        let by_page = (pages.len(), tokens, heads, dim);
        let layer = |layer: usize| {
            let of = |pool: &Tensor| pool.index_select(&slots.flat, 0)?.reshape(by_page);
            let keys = of(&self.keys[layer])?.permute((0, 2, 3, 1))?.contiguous()?;
            let values = of(&self.values[layer])?.permute((0, 2, 1, 3))?.contiguous()?;
            let flat = (pages.len(), heads, dim * tokens);
            Tensor::cat(&[keys.reshape(flat)?, values.reshape(flat)?], 2)
        };
        let all = (0..layers).map(layer).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&all, 1)?.reshape((pages.len(), self.shape.halves()))
    }

    /// Writes pages from what [`TensorPages::gather`] gave.
    ///
    /// # Errors
    /// Where it has another shape, or the device has not the memory.
    pub fn scatter(&self, pages: &[PageId], from: &Tensor) -> Result<()> {
        let PageShape { layers, heads, dim, tokens } = self.shape;
        let slots = self.slots_on(pages)?;
        let spread = slots.spread.as_ref().expect("places to write to are spread");
        let from = from.reshape((pages.len(), layers, heads, 2 * dim * tokens))?;
        for layer in 0..layers {
            let part = |at: usize| from.narrow(1, layer, 1)?.squeeze(1)?.narrow(2, at * dim * tokens, dim * tokens);
            let flat = (pages.len() * tokens, heads * dim);
            let keys = part(0)?.contiguous()?.reshape((pages.len(), heads, dim, tokens))?.permute((0, 3, 1, 2))?;
            let values = part(1)?.contiguous()?.reshape((pages.len(), heads, tokens, dim))?.permute((0, 2, 1, 3))?;
            self.keys[layer].scatter_set(spread, &keys.contiguous()?.reshape(flat)?, 0)?;
            self.values[layer].scatter_set(spread, &values.contiguous()?.reshape(flat)?, 0)?;
        }
        Ok(())
    }
}
