//! Times podlab's index and those of its peers side by side; README.md says how.

use clap::Parser;
use podlab_peers::{Disagreement, Machine, Setting, measure, measure_events, print};
use std::process::ExitCode;

/// Times podlab's router index and those of its peers side by side, and prints tables in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each cell; a round gives one figure for each contender and operation.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// What everything random is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(disagreement) => {
            eprintln!("podlab-peers: failed to compare: {disagreement}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Disagreement> {
    let &Arguments { rounds, seed } = arguments;
    let machine = Machine::here();
    let mut cells = Vec::new();
    for workers in [8, 64] {
        for length in [1024, 8192] {
            eprintln!("{workers} workers, {length} tokens");
            cells.push(measure(Setting { workers, length, rounds, seed })?);
        }
    }
    eprintln!("events");
    let events = measure_events(Setting { workers: 64, length: 8192, rounds, seed })?;
    println!("Median of {rounds} rounds (quartiles, 90th percentile); times in us per operation, seed {seed}.");
    print("", &cells);
    println!("\nEvents, with a decision after each hundred:");
    print(", while deciding", &[events]);
    println!("\n{machine}");
    Ok(())
}
