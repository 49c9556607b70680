//! Logs as they should not be: whatever they hold, they are read or refused, and what is read can be simulated.

use super::*;
use crate::router::Chance;

/// How many mutations are tried: 20,000, or as many as `PODLAB_FUZZ` says.
pub(crate) fn rounds() -> u64 {
    std::env::var("PODLAB_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20_000)
}

#[test]
fn broken_logs_are_refused_or_read() {
    let vllm = "INFO 12-31 23:59:58 logger.py:36] Received request cmpl-a-0: prompt: 'How, to', params: SamplingParams(n=1, max_tokens=16), prompt_token_ids: [1, 2, 3], lora_request: None.\nINFO 01-01 00:00:03 [logger.py:9] Request cmpl-a-0 details: prompt: 'x', prompt_token_ids: [4], prompt_embeds\nGenerated response cmpl-a-0: output: '', output_token_ids: [5, 6], finish\n".to_owned();
    let seeds = [openai(), sagemaker("JSON"), sagemaker("BASE64"), vllm];
    let words = [
        "",
        "null",
        "-1",
        "1e400",
        "[]",
        "{}",
        "\"\"",
        "99999999999999999999",
        "\u{1f600}",
        "\\u0000",
        "2026-13-45T99:99",
        "[[",
        ",",
        "\n",
    ];
    let mut chance = Chance::new(11);
    let (mut read_some, mut refused) = (0, 0);
    for round in 0..rounds() as usize {
        let mut log: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..1 + chance.below(6) {
            let (from, length) = (chance.pick(log.len()), chance.below(12) as usize);
            let to = (from + length).min(log.len());
            let word: Vec<char> = words[chance.pick(words.len())].chars().collect();
            log.splice(from..to, word);
            if log.is_empty() {
                break;
            }
        }
        let log: String = log.into_iter().collect();
        let Ok(trace) = read(&log, None, None).and_then(|seen| write(seen, &settings(4))) else {
            refused += 1;
            continue;
        };
        read_some += 1;
        match mooncake::parse(&trace.text) {
            Ok(workload) => assert_eq!(workload.requests().len(), trace.requests),
            // A date far off is a time all the same, and no trace is as long.
            Err(error) => {
                assert!(error.problem.contains("timestamp") || error.problem.contains("tokens"), "{error}: {log}")
            }
        }
    }
    println!("{read_some} read, {refused} refused");
    assert!(read_some > 2_000 && refused > 2_000, "{read_some} read, {refused} refused");
}
