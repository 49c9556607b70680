//! Texts for prompts: equal ids, equal text; no tokenizer.
//!
//! A text is a row of English words of three letters, each with a space before it: such a word is one token of the usual
//! vocabularies, and what it really is there one call finds out (`calibrate`). Which words they are is decided by the run's
//! salt, the segment's id and the place in it, so a segment's first half is the same however long it is.

/// 128 of them.
const WORDS: [&[u8; 4]; 128] = [
    b" the", b" and", b" for", b" are", b" but", b" not", b" you", b" all", b" any", b" can", b" had", b" her",
    b" was", b" one", b" our", b" out", b" day", b" get", b" has", b" him", b" his", b" how", b" man", b" new",
    b" now", b" old", b" see", b" two", b" way", b" who", b" boy", b" did", b" its", b" let", b" put", b" say",
    b" she", b" too", b" use", b" dad", b" mom", b" act", b" add", b" age", b" ago", b" air", b" art", b" ask",
    b" bad", b" bag", b" bar", b" bed", b" big", b" bit", b" box", b" bus", b" buy", b" car", b" cat", b" cup",
    b" cut", b" dog", b" dry", b" due", b" ear", b" eat", b" egg", b" end", b" eye", b" far", b" few", b" fit",
    b" fly", b" fun", b" gas", b" gap", b" gum", b" guy", b" hit", b" hot", b" ice", b" job", b" key", b" kid",
    b" law", b" lay", b" led", b" leg", b" lie", b" lot", b" low", b" map", b" may", b" men", b" mix", b" net",
    b" oil", b" pay", b" per", b" red", b" row", b" run", b" sea", b" set", b" sad", b" sit", b" six", b" sky",
    b" son", b" sun", b" tax", b" tea", b" ten", b" tie", b" top", b" try", b" war", b" web", b" wet", b" why",
    b" win", b" yes", b" yet", b" arm", b" bet", b" cap", b" dig", b" fan",
];

/// Words of a length in tokens, for one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Words {
    /// Makes a run's texts unlike those of every other run.
    pub salt: u64,
    /// Words for a token.
    pub per_token: f64,
    /// Tokens that the server adds to a prompt: its chat template, a mark of the beginning.
    pub added: u32,
}

impl Words {
    /// One word for a token, nothing added: what holds until a server was asked.
    #[must_use]
    pub const fn unasked(salt: u64) -> Self {
        Self { salt, per_token: 1.0, added: 0 }
    }

    /// Appends the words of segment `id`, `tokens` tokens long. O(tokens).
    pub fn push(&self, text: &mut Vec<u8>, id: u64, tokens: u32) {
        let words = (f64::from(tokens) * self.per_token).round() as u64;
        text.reserve(words as usize * 4);
        let seed = mixed(self.salt ^ mixed(id));
        // Nine words of seven bits from one draw.
        for draw in 0..words.div_ceil(9) {
            let mut bits = mixed(seed.wrapping_add(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            for _ in 0..(words - draw * 9).min(9) {
                text.extend_from_slice(WORDS[(bits & 127) as usize]);
                bits >>= 7;
            }
        }
    }
}

/// `SplitMix64`'s finalizer (Steele, Lea, Flood 2014).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
