//! What a worker computes on, and where its pages lie: the CPU by this crate's kernels, or a device of candle's.

use crate::model::{Compute, Identity, Model, Part};
use crate::pages::{PageId, PageShape, Pages};
use crate::tensor::{Lane, Mark, TensorModel, TensorPages};
use candle_core::Tensor;
use std::sync::Arc;

pub(crate) enum Hardware {
    Host { model: Arc<Model>, compute: Box<Compute>, pages: Pages },
    Device { model: Arc<TensorModel>, pages: TensorPages, lane: Lane },
}

impl Hardware {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Host { model, .. } => &model.identity,
            Self::Device { model, .. } => &model.identity,
        }
    }

    pub(crate) fn shape(&self) -> PageShape {
        match self {
            Self::Host { pages, .. } => pages.shape(),
            Self::Device { pages, .. } => pages.shape(),
        }
    }

    /// As [`Model::forward_while`].
    ///
    /// # Panics
    /// Where a device fails: nobody knows then what its pages hold.
    pub(crate) fn forward_while(
        &mut self,
        batch: &[Part<'_>],
        wanted: impl Fn(usize) -> bool,
        scores: impl FnMut(usize, usize, &[f32]),
    ) -> Vec<bool> {
        match self {
            Self::Host { model, compute, pages } => model.forward_while(compute, pages, batch, wanted, scores),
            Self::Device { model, pages, .. } => {
                model.forward_while(pages, batch, wanted, scores).unwrap_or_else(|error| panic!("the device: {error}"))
            }
        }
    }

    /// The way to and from the device; `None`: the pages are in host memory.
    pub(crate) fn lane(&self) -> Option<Lane> {
        match self {
            Self::Host { .. } => None,
            Self::Device { lane, .. } => Some(lane.clone()),
        }
    }

    /// The pages of the kernels, where it is these that compute.
    pub(crate) fn pages(&mut self) -> Option<&mut Pages> {
        match self {
            Self::Host { pages, .. } => Some(pages),
            Self::Device { .. } => None,
        }
    }

    /// Has the device copy pages to one piece of its memory, and tells when that is ready. Nothing where it has not the memory.
    pub(crate) fn stage(&self, numbers: &[PageId], lane: &Lane) -> (Option<Tensor>, Mark) {
        let Self::Device { pages, .. } = self else { return (None, Mark::default()) };
        let staged = pages.gather(numbers).and_then(|staged| Ok((staged, lane.mark()?)));
        staged.map_or_else(|_| (None, Mark::default()), |(staged, mark)| (Some(staged), mark))
    }

    /// Puts staged pages where they belong.
    pub(crate) fn land(&self, numbers: &[PageId], staged: Option<Tensor>) -> Landing {
        match (self, staged) {
            (_, None) if numbers.is_empty() => Landing::Done,
            (Self::Device { pages, .. }, Some(staged)) if pages.scatter(numbers, &staged).is_ok() => Landing::Done,
            _ => Landing::Failed,
        }
    }
}

/// What became of pages that came to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    Done,
    Failed,
}
