//! The rules, one short story each. A block holds 4 tokens. A letter is a piece of one block; a number after it says
//! another length: `a10b` is ten tokens of a, then four of b.

use kvcache::{
    Blocks, CacheConfig, Chain, ChainBuilder, Change, Duplicates, HoldId, Piece, PieceKey, Tokens, WorkerCache,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const BLOCK: Tokens = Tokens(4);

struct Request {
    prompt: String,
    hold: HoldId,
    reserved: Tokens,
}

/// A stage: a cache, requests by their letters, and what is written down.
struct Stage {
    cache: WorkerCache,
    requests: BTreeMap<String, Request>,
    letters: BTreeMap<PieceKey, char>,
    said: String,
}

impl Stage {
    fn pieces(&mut self, prompt: &str) -> Vec<Piece> {
        let mut builder = ChainBuilder::new();
        let mut rest = prompt;
        while let Some(letter) = rest.chars().next() {
            let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
            let tokens = rest[1..=digits].parse().unwrap_or(BLOCK.0);
            builder.push(u64::from(u32::from(letter)), Tokens(tokens));
            self.letters.insert(builder.pieces().last().expect("a piece").key, letter);
            rest = &rest[1 + digits..];
        }
        builder.pieces().to_vec()
    }

    fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["start", who, prompt] => self.start(who, prompt),
            ["compute", who] => self.compute(who, None),
            ["compute", who, upto] => self.compute(who, Some(Tokens(upto.parse().expect("tokens")))),
            ["grow", who, more] => self.grow(who, more),
            ["end", who] => {
                let request = self.requests.remove(who).expect("a request that was started");
                self.cache.release(request.hold, request.reserved);
            }
            ["restart"] => self.cache.restart(),
            ["find", prompt] => {
                let pieces = self.pieces(prompt);
                let found = self.cache.find(Chain::new(&pieces, BLOCK), Blocks(u32::MAX)).blocks();
                self.say(format_args!("{prompt} {}", found.0));
            }
            ["usage"] => {
                let usage = self.cache.usage();
                let (free, private) = (usage.free.0, usage.private.0);
                self.say(format_args!("free {free} private {private} held {} idle {}", usage.held.0, usage.idle.0));
            }
            ["events"] => self.events(),
            _ => panic!("nobody knows how to {line}"),
        }
        self.cache.check();
    }

    fn say(&mut self, what: std::fmt::Arguments<'_>) {
        let comma = if self.said.is_empty() { "" } else { ", " };
        write!(self.said, "{comma}{what}").expect("memory");
    }

    fn start(&mut self, who: &str, prompt: &str) {
        let pieces = self.pieces(prompt);
        let chain = Chain::new(&pieces, BLOCK);
        let found = self.cache.find(chain, (chain.tokens() - Tokens(1)).full_blocks(BLOCK));
        let said = match self.cache.begin(found, chain.tokens()) {
            Err(refused) => format!("{who} {refused}"),
            Ok(hold) => {
                let request = Request { prompt: prompt.to_owned(), hold, reserved: chain.tokens() };
                self.requests.insert(who.to_owned(), request);
                format!("{who} hits {}", found.blocks().0)
            }
        };
        self.say(format_args!("{said}"));
    }

    fn compute(&mut self, who: &str, upto: Option<Tokens>) {
        let prompt = self.requests[who].prompt.clone();
        let pieces = self.pieces(&prompt);
        let request = &self.requests[who];
        self.cache.commit(request.hold, Chain::new(&pieces, BLOCK), upto.unwrap_or(request.reserved));
    }

    fn grow(&mut self, who: &str, more: &str) {
        let prompt = format!("{}{more}", self.requests[who].prompt);
        let tokens = self.pieces(&prompt).last().expect("a piece").end;
        let request = self.requests.get_mut(who).expect("a request that was started");
        let needed = tokens.blocks(BLOCK) - request.reserved.blocks(BLOCK);
        match self.cache.reserve(needed) {
            Ok(()) => (request.prompt, request.reserved) = (prompt, tokens),
            Err(refused) => self.say(format_args!("{who} {refused}")),
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.cache.poll_event() {
            let letter = |piece: &PieceKey| self.letters.get(piece).copied().unwrap_or('.');
            let letters = |pieces: &[Piece]| pieces.iter().map(|piece| letter(&piece.key)).collect::<String>();
            let change = match &event.change {
                Change::Stored { parent, upto, pieces, .. } => {
                    format!("{}+{}:{}", letter(parent), letters(pieces), upto.0)
                }
                Change::Evicted { left, pieces, .. } => format!("-{}:{}", letters(pieces), left.0),
                Change::Cleared => "cleared".to_owned(),
            };
            self.say(format_args!("{}/{} {change}", event.epoch.0, event.sequence));
        }
    }
}

fn tell(capacity: u32, duplicates: Duplicates, story: &str, expected: &str) {
    let config =
        CacheConfig { capacity: Blocks(capacity), block: BLOCK, prefix_caching: true, duplicates, events: true };
    let cache = WorkerCache::new(config);
    let mut stage = Stage { cache, requests: BTreeMap::new(), letters: BTreeMap::new(), said: String::new() };
    for line in story.split(';') {
        stage.play(line);
    }
    assert_eq!(stage.said, expected, "{story}");
}

/// Plays a story in a cache of 8 blocks that keeps copies.
fn check(story: &str, expected: &str) {
    tell(8, Duplicates::Keep, story, expected);
}

#[test]
fn only_full_blocks_are_kept() {
    check(
        "start x a11; compute x 7; find a11; compute x; find a11; usage",
        "x hits 0, a11 1, a11 2, free 5 private 1 held 2 idle 0",
    );
    // A block that two pieces share belongs to the one in which it ends.
    check(
        "start x a6b6; compute x; find a6b6; find a6c6; find a7b5; find a8; events",
        "x hits 0, a6b6 3, a6c6 1, a7b5 1, a8 1, 0/0 .+ab:12",
    );
    // A piece in which no block ends is never spoken of, though it tells prompts apart.
    check("start x a5b2c5; compute x; find a5b2c5; find a5c2c5; events", "x hits 0, a5b2c5 3, a5c2c5 1, 0/0 .+abc:12");
}

#[test]
fn the_last_prompt_token_is_computed_again() {
    check("start x abc; compute x; end x; start y abc; usage", "x hits 0, y hits 2, free 4 private 1 held 2 idle 1");
    check("start x abc; compute x; end x; start y abcd1; usage", "x hits 0, y hits 3, free 4 private 1 held 3 idle 0");
    check("start x abc; compute x; end x; start y abc2; usage", "x hits 0, y hits 2, free 4 private 1 held 2 idle 1");
    check("start x a1; compute x; find a1; end x; usage", "x hits 0, a1 0, free 8 private 0 held 0 idle 0");
}

#[test]
fn what_is_not_computed_is_lost() {
    check("start x abcd; compute x 9; end x; find abcd; usage", "x hits 0, abcd 2, free 6 private 0 held 0 idle 2");
    check("start x abcd; end x; find abcd; usage", "x hits 0, abcd 0, free 8 private 0 held 0 idle 0");
}

#[test]
fn the_longest_idle_goes_first_and_of_it_the_tail() {
    check(
        "start x abc; compute x; end x; start y def; compute y; end y; start z ghijk; find abc; find def; events",
        "x hits 0, y hits 0, z hits 0, abc 0, def 3, \
         0/0 .+abc:12, 0/1 .+def:12, 0/2 -abc:0",
    );
    // Of one long piece an event tells how much is left.
    check(
        "start x a20; compute x; end x; start y bcde; find a20; start z f; find a20; events",
        "x hits 0, y hits 0, a20 4, z hits 0, a20 3, 0/0 .+a:20, 0/1 -a:16, 0/2 -a:12",
    );
    // Who was used again goes last, its idle tail before it.
    check(
        "start x abcd; compute x; end x; start y efg; compute y; end y; \
           start z abh; end z; start w ijkl; find abcd; find efg; usage",
        "x hits 0, y hits 0, z hits 2, w hits 0, abcd 2, efg 2, free 0 private 4 held 0 idle 4",
    );
}

#[test]
fn held_blocks_stay() {
    check("start x abcd; compute x; start y efghi", "x hits 0, y needs 5 blocks, only 4 blocks available");
    // A hit is no longer available to the one who hits it.
    check(
        "start x abcd; compute x; end x; start y abcdefghi; usage",
        "x hits 0, y needs 5 blocks, only 4 blocks available, free 4 private 0 held 0 idle 4",
    );
    check(
        "start x abcd; compute x; end x; start y abcdefgh; usage",
        "x hits 0, y hits 4, free 0 private 4 held 4 idle 0",
    );
    check(
        "start x abc; compute x; grow x defgh; grow x i; end x; usage",
        "x hits 0, x needs 1 blocks, only 0 blocks available, free 5 private 0 held 0 idle 3",
    );
    // A block stays until the last of its holders lets go.
    check(
        "start x ab; compute x; start y abc; end x; start z defghi; end y; usage; start z defghi; find ab",
        "x hits 0, y hits 2, z needs 6 blocks, only 5 blocks available, \
         free 6 private 0 held 0 idle 2, z hits 0, ab 2",
    );
}

#[test]
fn copies_are_kept_or_merged() {
    let story = "start x abc; start y abc; compute x; usage; compute y; usage; end x; usage; end y; usage";
    check(
        story,
        "x hits 0, y hits 0, free 2 private 3 held 3 idle 0, free 2 private 3 held 3 idle 0, \
         free 2 private 3 held 3 idle 0, free 5 private 0 held 0 idle 3",
    );
    tell(
        8,
        Duplicates::Merge,
        story,
        "x hits 0, y hits 0, free 2 private 3 held 3 idle 0, free 5 private 0 held 3 idle 0, \
         free 5 private 0 held 3 idle 0, free 5 private 0 held 0 idle 3",
    );
    // Who is first in some blocks and second in others.
    let story = "start x abc; start y abcd; compute x 8; compute y; compute x; usage; end y; usage; end x; events";
    check(
        story,
        "x hits 0, y hits 0, free 1 private 3 held 4 idle 0, free 3 private 1 held 3 idle 1, \
         0/0 .+ab:8, 0/1 b+cd:16",
    );
    tell(
        8,
        Duplicates::Merge,
        story,
        "x hits 0, y hits 0, free 4 private 0 held 4 idle 0, free 4 private 0 held 3 idle 1, \
         0/0 .+ab:8, 0/1 b+cd:16",
    );
}

#[test]
fn a_run_splits_where_a_match_ends() {
    check(
        "start x a20; compute x; start y a10b; compute y; find a20; find a10b; usage; end x; usage; events",
        "x hits 0, y hits 2, a20 5, a10b 3, free 1 private 1 held 6 idle 0, free 1 private 1 held 3 idle 3, \
         0/0 .+a:20, 0/1 a+b:12",
    );
    // Both parts still know who they are: the tail goes, the head stays, and the tail comes again.
    check(
        "start x a20; compute x; end x; start y a8b12; find a20; compute y; find a20; find a8b12; \
           end y; start z a20; compute z; find a20; find a8b12; events",
        "x hits 0, y hits 2, a20 5, a20 5, a8b12 5, z hits 4, a20 5, a8b12 5, \
         0/0 .+a:20, 0/1 a+b:20, 0/2 -a:16, 0/3 .+a:20",
    );
}

#[test]
fn a_split_idle_run_keeps_its_place() {
    // y takes the head of abcd; its tail is still older than efg, and goes first.
    check(
        "start x abcd; compute x; end x; start y efg; compute y; end y; start z abh; start w i; find abcd; find efg",
        "x hits 0, y hits 0, z hits 2, w hits 0, abcd 3, efg 3",
    );
    // Without a new holder a look-up changes nothing.
    check(
        "start x abcd; compute x; end x; start y efg; compute y; end y; find ab; start w ijkl; find abcd; find efg",
        "x hits 0, y hits 0, ab 2, w hits 0, abcd 1, efg 3",
    );
}

#[test]
fn a_run_grows_under_the_name_of_another() {
    // x made the run, y cut its head off and stays alone with it; then it grows, and what x called it no longer fits.
    check(
        "start x a20; compute x; end x; start y a8bcd; start z efg; usage; compute y; find a8bcd; find a20; events",
        "x hits 0, y hits 2, z hits 0, free 0 private 6 held 2 idle 0, a8bcd 5, a20 2, \
         0/0 .+a:20, 0/1 -a:8, 0/2 a+bcd:20",
    );
    // As above with a partly cut piece between.
    check(
        "start x a20; compute x; end x; start y a10b10; start z efg; compute y; grow y c; compute y; end z; \
           find a10b10c; events",
        "x hits 0, y hits 2, z hits 0, y needs 1 blocks, only 0 blocks available, a10b10c 5, \
         0/0 .+a:20, 0/1 -a:8, 0/2 a+b:20",
    );
    // A reply grows token by token: its piece is known only as far as it goes.
    check(
        "start x ab2; compute x; grow x b1; compute x; grow x b5; compute x; find ab2b1b5; end x; usage",
        "x hits 0, ab2b1b5 3, free 5 private 0 held 0 idle 3",
    );
}

#[test]
fn a_restart_is_a_new_epoch() {
    check(
        "start x ab; compute x; end x; restart; find ab; usage; start y a; compute y; events",
        "x hits 0, ab 0, free 8 private 0 held 0 idle 0, y hits 0, \
         0/0 .+ab:8, 1/0 cleared, 1/1 .+a:4",
    );
}

#[test]
#[should_panic(expected = "requests must let go before the worker restarts")]
fn a_restart_waits_for_requests() {
    check("start x ab; restart", "");
}
