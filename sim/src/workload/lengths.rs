//! How long messages, questions and answers are: named distributions over whole tokens, at least one.

use crate::streams::Stream;
use kvcache::Tokens;

/// The geometric distribution on 1, 2, 3, ...: after each token the text ends with the same probability. Its standard
/// deviation is nearly its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometric {
    /// Its mean, exactly; below one token it counts as one.
    pub mean: Tokens,
}

impl Geometric {
    /// One length, from one number of the stream, by inversion.
    pub fn draw(self, stream: &mut Stream) -> Tokens {
        Tokens(self.at(1.0 - stream.unit()).min(u64::from(u32::MAX)) as u32)
    }

    /// The longest that can be drawn, in tokens: some 37 times the mean, since [`Stream::unit`] has 53 bits.
    #[must_use]
    pub fn longest(self) -> u64 {
        self.at(1.0 / (1_u64 << 53) as f64)
    }

    /// The length that a share `above` of all lengths exceeds. With a mean of 1 the logarithm below is minus infinity
    /// and every length 1.
    fn at(self, above: f64) -> u64 {
        let stays = libm::log1p(-1.0 / f64::from(self.mean.0.max(1)));
        1 + libm::floor(libm::log(above) / stays) as u64
    }
}

/// The log-normal distribution, cut off: most are short, few are very long, as observed of prompts that people send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogNormal {
    /// Half are shorter. The mean is `exp(spread^2 / 2)` times as long, but for what is cut off.
    pub median: Tokens,
    /// Standard deviation of the length's natural logarithm; 0: all are as long as the median.
    pub spread: f64,
    /// What would be longer is as long as this.
    pub longest: Tokens,
}

impl LogNormal {
    /// One length, from two numbers of the stream, rounded to whole tokens.
    pub fn draw(self, stream: &mut Stream) -> Tokens {
        let length = f64::from(self.median.0) * libm::exp(self.spread * stream.normal());
        // A cast from float to integer saturates.
        Tokens((length + 0.5) as u32).clamp(Tokens(1), self.longest.max(Tokens(1)))
    }
}
