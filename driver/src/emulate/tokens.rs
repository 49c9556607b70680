//! Prompts without a tokenizer: a token is a fixed number of characters, and a block is known by the hash of its
//! characters and of all before them.
//!
//! So prompts that begin with the same text share blocks, as they would with a tokenizer, and lengths come close to
//! the real ones where the characters per token are those of the text (English about 4, Korean about 1.5).

use super::names::Names;
use core::fmt;
use kvcache::{BlockHash, Identity, Piece, Salt, Tokens};

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
        let tokens = self.count(content);
        match content {
            Content::Text(text) => {
                let chars: Vec<u32> = text.chars().map(u32::from).collect();
                // Token i begins at character floor(i x characters per token).
                self.pieces(("characters", salt), &chars, tokens, |token| token * self.chars.thousandths / 1000)
            }
            Content::Ids(ids) => self.pieces(("token ids", salt), ids, tokens, |token| token),
        }
    }

    /// The names of a prompt of token ids, of which the reply's will go on.
    pub(super) fn names(&self, prompt: &[u32], salt: &Salt) -> Names {
        Names::of(prompt, self.root("token ids", salt), self.block)
    }

    /// One model's text and its token ids are different languages: nothing of the one is found by the other.
    fn root(&self, kind: &str, salt: &Salt) -> BlockHash {
        Identity { model: &self.model, dtype: kind, block: self.block, salt, adapter: "" }.root()
    }

    /// `start_of` says at which symbol a token starts.
    fn pieces(
        &self,
        (kind, salt): (&str, &Salt),
        symbols: &[u32],
        tokens: Tokens,
        start_of: impl Fn(u64) -> u64,
    ) -> Vec<Piece> {
        let mut hash = self.root(kind, salt);
        let (mut pieces, mut from, mut end) = (Vec::new(), 0, Tokens::ZERO);
        while end < tokens {
            end = (end + self.block).min(tokens);
            let upto = if end == tokens { symbols.len() } else { start_of(u64::from(end.0)) as usize };
            hash = hash.then(&symbols[from..upto]);
            pieces.push(Piece { key: hash.piece_key(), end });
            from = upto;
        }
        pieces
    }
}
