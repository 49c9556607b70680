//! Prompts without a tokenizer: a token is a fixed number of characters and its id a hash of them; a block is known by the hash of
//! its tokens and of all before them.
//!
//! So prompts that begin with the same text share blocks, as they would with a tokenizer, and lengths come close to
//! the real ones where the characters per token are those of the text (English about 4, Korean about 1.5). A text and its ids are
//! one prompt, as everywhere.

use super::executor::{Language, Message};
use super::names::Names;
use crate::http::prompt::render;
use core::fmt;
use kvcache::{BlockHash, Identity, Piece, PieceKey, Salt, Tokens};
use std::borrow::Cow;

/// Characters per token, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CharsPerToken {
    thousandths: u64,
}

/// Characters per token that are no number from 0.1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidCharsPerToken(pub f64);

impl fmt::Display for InvalidCharsPerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut text into tokens of {} characters: it must be from 0.1 to 1000", self.0)
    }
}

impl std::error::Error for InvalidCharsPerToken {}

impl Default for CharsPerToken {
    fn default() -> Self {
        Self { thousandths: 4000 }
    }
}

impl TryFrom<f64> for CharsPerToken {
    type Error = InvalidCharsPerToken;

    fn try_from(chars: f64) -> Result<Self, InvalidCharsPerToken> {
        if !(0.1..=1000.0).contains(&chars) {
            return Err(InvalidCharsPerToken(chars));
        }
        Ok(Self { thousandths: (chars * 1000.0).round() as u64 })
    }
}

/// A prompt as a client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Ids of tokens.
    Ids(Vec<u32>),
}

/// Cuts prompts into tokens and blocks, for one model.
#[derive(Clone, Debug)]
pub struct Cutter {
    model: String,
    block: Tokens,
    chars: CharsPerToken,
}

impl Cutter {
    /// For `model`, whose cache has blocks of `block` tokens.
    #[must_use]
    pub fn new(model: &str, block: Tokens, chars: CharsPerToken) -> Self {
        Self { model: model.to_owned(), block, chars }
    }

    /// How many tokens `content` is; `u32::MAX` where it is more than that. O(characters).
    #[must_use]
    pub fn count(&self, content: &Content) -> Tokens {
        let count = match content {
            Content::Text(text) => (text.chars().count() as u64 * 1000).div_ceil(self.chars.thousandths),
            Content::Ids(ids) => ids.len() as u64,
        };
        Tokens(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The pieces of `content`: one per full block, and the rest. Hashes every character once.
    #[must_use]
    pub fn cut(&self, content: &Content) -> Vec<Piece> {
        // Whoever emulates is the only tenant.
        self.cut_for(content, &Salt::for_tenant("", None).expect("no client chose a salt"))
    }

    /// The same for somebody who shares only with those of the same salt.
    #[must_use]
    pub fn cut_for(&self, content: &Content, salt: &Salt) -> Vec<Piece> {
        let ids = self.ids(content);
        let (mut hash, mut end) = (self.root(salt), Tokens::ZERO);
        let piece = |block: &[u32]| {
            hash = hash.then(block);
            end += Tokens(u32::try_from(block.len()).unwrap_or(u32::MAX));
            Piece { key: hash.piece_key(), end }
        };
        ids.chunks(self.block.0 as usize).map(piece).collect()
    }

    /// The names of a prompt of token ids, of which the reply's will go on.
    pub(super) fn names(&self, prompt: &[u32], salt: &Salt) -> Names {
        Names::of(prompt, self.root(salt), self.block)
    }

    fn root(&self, salt: &Salt) -> BlockHash {
        Identity { model: &self.model, dtype: "token ids", block: self.block, salt, adapter: "" }.root()
    }

    /// The ids of its tokens. O(characters).
    #[must_use]
    pub fn ids<'a>(&self, content: &'a Content) -> Cow<'a, [u32]> {
        let text = match content {
            Content::Ids(ids) => return Cow::Borrowed(ids),
            Content::Text(text) => text,
        };
        let chars: Vec<char> = text.chars().collect();
        let count = self.count(content).0;
        // Token i begins at character floor(i x characters per token).
        let start = |token: u32| (u64::from(token) * self.chars.thousandths / 1000) as usize;
        let id = |token| id(&chars[start(token)..if token + 1 == count { chars.len() } else { start(token + 1) }]);
        Cow::Owned((0..count).map(id).collect())
    }
}

impl Language for Cutter {
    fn prompt(&self, content: &Content) -> Result<Vec<u32>, String> {
        Ok(self.ids(content).into_owned())
    }

    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, String> {
        Ok(self.ids(&Content::Text(render(messages))).into_owned())
    }
}

/// What these characters are called: 31 bits, which readers with signed numbers take as well.
fn id(chars: &[char]) -> u32 {
    let place = |index: usize| Tokens(u32::try_from(index).unwrap_or(u32::MAX));
    let hash = (0..).zip(chars).fold(PieceKey::ROOT, |hash, (index, one)| hash.then(place(index), u64::from(*one)));
    (hash.0 >> 33) as u32
}
