//! A block of KV as bytes: what leaves a worker, lives in a lower tier, and comes back to another.
//!
//! Layout, little endian: magic `PLKV`, version u16, element type u16 (1: f16), tokens per block u32, layers u32, heads
//! u32, values per head u32, model (XXH3 of sizes and tensors, 16 bytes), weights (XXH3 of the weights mode, 8 bytes),
//! chain (identity of the block and all before it, 32 bytes), payload bytes u64, XXH3 of the header before it and of the
//! payload u64; then the page as it lies in memory. A page's halves were rounded when they were written, so a block that
//! comes back is the block that left, bit for bit; and what does not fit exactly is refused.

use crate::model::Identity;
use crate::pages::{PageId, PageShape, Pages};
use kvcache::BlockHash;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: [u8; 4] = *b"PLKV";
const VERSION: u16 = 1;
/// Element type: IEEE halves.
const HALVES: u16 = 1;
/// Bytes before the checksum.
const CHECKED: usize = 4 + 2 + 2 + 4 * 4 + 16 + 8 + 32 + 8;
/// Bytes before the payload.
pub const HEADER: usize = CHECKED + 8;

/// Bytes that are not the block that was asked for. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheBlock {
    /// They end within the header.
    #[error("import a block: {0} bytes are less than a header")]
    Short(usize),
    /// They do not begin as a block does.
    #[error("import a block: it does not begin as one")]
    Magic,
    /// It is of a version that this build does not read.
    #[error("import a block: version {0} is not known")]
    Version(u16),
    /// Elements are of another type.
    #[error("import a block: element type {0} is not f16")]
    Elements(u16),
    /// Blocks have another size.
    #[error("import a block: it has {found} tokens, pages have {wanted}")]
    Tokens {
        /// Of the bytes.
        found: u32,
        /// Of the pages.
        wanted: u32,
    },
    /// Layers, heads or values per head differ.
    #[error("import a block: its layers, heads or their size are another model's")]
    Shape,
    /// It was computed by another model.
    #[error("import a block: another model computed it")]
    Model,
    /// It was computed with weights that were held otherwise.
    #[error("import a block: it was computed with weights in another mode")]
    Weights,
    /// It follows other tokens.
    #[error("import a block: it is of another chain of tokens")]
    Chain,
    /// There are more or fewer bytes than it says, or than a page has.
    #[error("import a block: it has {found} bytes of payload, a page has {wanted}")]
    Length {
        /// There.
        found: u64,
        /// In a page.
        wanted: u64,
    },
    /// Some bytes are not those that were written.
    #[error("import a block: its checksum does not match")]
    Checksum,
}

/// What a block must be to be of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passport {
    shape: PageShape,
    model: u128,
    weights: u64,
}

impl Passport {
    /// Of the blocks of a model in pages of a shape.
    #[must_use]
    pub fn new(identity: &Identity, shape: PageShape) -> Self {
        Self { shape, model: identity.hash, weights: xxh3_64(identity.weights.as_bytes()) }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER + self.shape.bytes()
    }

    fn header(&self, chain: BlockHash) -> [u8; CHECKED] {
        let PageShape { layers, heads, dim, tokens } = self.shape;
        let mut header = Vec::with_capacity(CHECKED);
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend(HALVES.to_le_bytes());
        for size in [tokens, layers, heads, dim] {
            header.extend((size as u32).to_le_bytes());
        }
        header.extend(self.model.to_le_bytes());
        header.extend(self.weights.to_le_bytes());
        header.extend(chain.0);
        header.extend((self.shape.bytes() as u64).to_le_bytes());
        header.try_into().expect("fields have the sizes that they are said to have")
    }

    /// Appends the block on `page`, computed for the tokens that `chain` names.
    pub fn export(&self, pages: &Pages, page: PageId, chain: BlockHash, into: &mut Vec<u8>) {
        self.seal(pages.page(page).iter().copied(), chain, into);
    }

    /// Appends a block of these halves, which are a page's.
    pub(crate) fn seal(&self, halves: impl Iterator<Item = u16>, chain: BlockHash, into: &mut Vec<u8>) {
        into.reserve(self.bytes());
        let start = into.len();
        into.extend([0; HEADER]);
        into.extend(halves.flat_map(u16::to_le_bytes));
        self.head(&mut into[start..], chain);
    }

    /// Writes the header of a block whose payload is there already.
    pub(crate) fn head(&self, block: &mut [u8], chain: BlockHash) {
        let header = self.header(chain);
        let sum = checksum(&header, &block[HEADER..]);
        block[..CHECKED].copy_from_slice(&header);
        block[CHECKED..HEADER].copy_from_slice(&sum.to_le_bytes());
    }

    /// Writes a block to `page`, if it is the one that `chain` names.
    ///
    /// # Errors
    /// Why it is not; the page is as it was.
    pub fn import(&self, bytes: &[u8], chain: BlockHash, pages: &mut Pages, page: PageId) -> Result<(), NotTheBlock> {
        let payload = self.open(bytes, chain)?;
        for (half, bytes) in pages.page_mut(page).iter_mut().zip(payload.as_chunks::<2>().0) {
            *half = u16::from_le_bytes(*bytes);
        }
        Ok(())
    }

    /// The payload of a block that is what it should be.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8], chain: BlockHash) -> Result<&'a [u8], NotTheBlock> {
        let (Some(header), Some(sum), Some(payload)) =
            (bytes.get(..CHECKED), bytes.get(CHECKED..HEADER), bytes.get(HEADER..))
        else {
            return Err(NotTheBlock::Short(bytes.len()));
        };
        let mut fields = Fields(header);
        if fields.take::<4>() != MAGIC {
            return Err(NotTheBlock::Magic);
        }
        match (u16::from_le_bytes(fields.take()), u16::from_le_bytes(fields.take())) {
            (VERSION, HALVES) => {}
            (VERSION, elements) => return Err(NotTheBlock::Elements(elements)),
            (version, _) => return Err(NotTheBlock::Version(version)),
        }
        let wanted = self.shape;
        let found = u32::from_le_bytes(fields.take());
        if found as usize != wanted.tokens {
            return Err(NotTheBlock::Tokens { found, wanted: wanted.tokens as u32 });
        }
        let sizes = [wanted.layers, wanted.heads, wanted.dim];
        if sizes.iter().any(|size| u32::from_le_bytes(fields.take()) as usize != *size) {
            return Err(NotTheBlock::Shape);
        }
        if u128::from_le_bytes(fields.take()) != self.model {
            return Err(NotTheBlock::Model);
        }
        if u64::from_le_bytes(fields.take()) != self.weights {
            return Err(NotTheBlock::Weights);
        }
        if fields.take::<32>() != chain.0 {
            return Err(NotTheBlock::Chain);
        }
        let (said, found, wanted) = (u64::from_le_bytes(fields.take()), payload.len() as u64, wanted.bytes() as u64);
        if said != wanted || found != wanted {
            return Err(NotTheBlock::Length { found: if said == wanted { found } else { said }, wanted });
        }
        if checksum(header, payload).to_le_bytes() != sum {
            return Err(NotTheBlock::Checksum);
        }
        Ok(payload)
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(header);
    hash.update(payload);
    hash.digest()
}

/// A header, field by field.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the header is as long as its fields");
        self.0 = rest;
        *field
    }
}
