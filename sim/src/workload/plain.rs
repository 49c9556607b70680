//! Requests as everybody writes them, read by hand: several times as fast as any JSON, and a third of a run's time went
//! into reading its trace.
//!
//! Only a line of four known names, each once, with plain whole numbers and nothing else is read here. Of any other, be it
//! broken or only unusual, this says nothing, and the JSON parser decides.

use alloc::vec::Vec;

/// A request as its line has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) timestamp: u64,
    pub(super) input_length: u64,
    pub(super) output_length: u64,
    pub(super) hash_ids: Vec<i64>,
}

/// Digits that are read: a float holds such a number, and so do 63 bits.
const MOST_DIGITS: usize = 15;

impl Plain {
    /// Reads a line in place of what was read before. `None`: it is not plain, and what is here now means nothing.
    pub(super) fn read(&mut self, line: &str) -> Option<()> {
        let mut cursor = Cursor { rest: line.as_bytes() };
        let mut seen = [false; 4];
        self.hash_ids.clear();
        cursor.take(b'{')?;
        loop {
            let place = match cursor.name()? {
                b"timestamp" => 0,
                b"input_length" => 1,
                b"output_length" => 2,
                b"hash_ids" => 3,
                _ => return None,
            };
            match place {
                0 => self.timestamp = cursor.number()?,
                1 => self.input_length = cursor.number()?,
                2 => self.output_length = cursor.number()?,
                _ => cursor.numbers(&mut self.hash_ids)?,
            }
            if core::mem::replace(&mut seen[place], true) {
                return None;
            }
            match cursor.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        (seen == [true; 4] && cursor.peek().is_none()).then_some(())
    }
}

/// What is still to be read.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The next byte that is no space, and stays.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let (byte, behind) = self.rest.split_first()?;
            if !is_space(*byte) {
                return Some(*byte);
            }
            self.rest = behind;
        }
    }

    /// The same, and it is read.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            let (byte, behind) = self.rest.split_first()?;
            self.rest = behind;
            if !is_space(*byte) {
                return Some(*byte);
            }
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A name, and the colon behind it.
    fn name(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let end = self.rest.iter().position(|byte| *byte == b'"')?;
        let (name, behind) = self.rest.split_at(end);
        self.rest = &behind[1..];
        self.take(b':')?;
        Some(name)
    }

    /// A whole number; what follows it is the caller's to look at. Part of the loop that reads a list, where it takes two
    /// thirds of the instructions of a call.
    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        let first = self.peek()?;
        let (mut count, mut number) = self.rest.first_chunk().map_or((0, 0), leading_digits);
        if !(1..8).contains(&count) {
            (count, number) = self.digits()?;
        }
        self.rest = &self.rest[count..];
        // JSON wants a digit, and no zero before others.
        (count == 1 || count > 1 && first != b'0').then_some(number)
    }

    /// How many digits come next, and their number: more than eight, or at the end of a line. `None`: too many.
    #[cold]
    fn digits(&self) -> Option<(usize, u64)> {
        let (mut count, mut number) = (0, 0);
        while let Some(byte @ b'0'..=b'9') = self.rest.get(count) {
            if count == MOST_DIGITS {
                return None;
            }
            number = number * 10 + u64::from(byte - b'0');
            count += 1;
        }
        Some((count, number))
    }

    #[inline]
    fn numbers(&mut self, into: &mut Vec<i64>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        loop {
            // As it is mostly written: a number, a comma and one space.
            while let Some((number, rest)) = listed(self.rest) {
                into.push(number as i64);
                self.rest = rest;
            }
            into.push(self.number()? as i64);
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}

#[inline]
const fn is_space(byte: u8) -> bool {
    // Hardly any byte passes the first question.
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r')
}

/// A number of at most seven digits with a comma and one space behind it, and what is behind these.
#[inline(always)]
fn listed(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (count, number) = leading_digits(bytes.first_chunk()?);
    let plain = (1..8).contains(&count) && (count == 1 || bytes[0] != b'0');
    let rest = bytes[count..].strip_prefix(b", ")?;
    plain.then_some((number, rest))
}

/// How many of eight bytes are digits before the first that is none, and their number. All eight at once: a byte is a digit
/// where its upper half is 3 and stays 3 when 6 is added; then neighbours are joined, to two digits, four, eight (Lemire,
/// "Number parsing at a gigabyte per second", 2021).
#[inline]
fn leading_digits(bytes: &[u8; 8]) -> (usize, u64) {
    const UPPER: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const SIXES: u64 = 0x0606_0606_0606_0606;
    let word = u64::from_le_bytes(*bytes);
    let strange = ((word & UPPER) ^ ZEROS) | ((word.wrapping_add(SIXES) & UPPER) ^ ZEROS);
    let count = strange.trailing_zeros() / 8;
    if count == 0 {
        return (0, 0);
    }
    // The first digit is the lowest byte; behind the shift it stands where its place is, and zeros before it.
    let digits = (word ^ ZEROS) << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    (count as usize, fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}
