//! The result of `vllm bench serve --save-result`: one object. With `--save-detailed` it has a list for each property of its
//! requests, whose times are in seconds (`vllm/benchmarks/serve.py`).

use super::{Kind, Request, Setting, Told, estimate, show};
use serde_json::{Map, Value};

/// What a result says of how it was made, and what that is called here.
const CASE: [(&str, &str); 2] = [("request_rate", "rate"), ("max_concurrency", "concurrency")];
const SETUP: [&str; 9] = [
    "backend",
    "endpoint_type",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "burstiness",
    "label",
    "vllm_version",
    "dataset_name",
];

/// Whether an object is such a result.
pub(super) fn is(result: &Map<String, Value>) -> bool {
    result.contains_key("request_throughput") && (result.contains_key("completed") || result.contains_key("input_lens"))
}

/// The run that it tells of.
///
/// # Errors
/// Which of its lists are not as long as the others.
pub(super) fn told(result: &Map<String, Value>) -> Result<Told, String> {
    let requests = requests(result)?;
    let number = |key: &str| result.get(key).and_then(Value::as_f64);
    let mut figures = Map::new();
    let named = result.iter().filter(|(key, value)| key.ends_with("_ms") && value.is_number());
    figures.extend(named.map(|(key, value)| (key.replacen("median_", "p50_", 1), value.clone())));
    for key in ["completed", "failed", "request_throughput", "output_throughput", "total_token_throughput"] {
        figures.extend(result.get(key).filter(|value| value.is_number()).map(|value| (key.to_owned(), value.clone())));
    }
    for (key, of) in
        [("makespan_s", "duration"), ("prompt_tokens", "total_input_tokens"), ("output_tokens", "total_output_tokens")]
    {
        figures.extend(result.get(of).filter(|value| value.is_number()).map(|value| (key.to_owned(), value.clone())));
    }
    if let Some(goodput) = number("request_goodput") {
        figures.insert("slo".to_owned(), serde_json::json!({ "goodput": goodput }));
    }
    estimate::fill(&mut figures, &requests, gaps(result), number("duration"));
    let setting = |key: &str, name: &str| {
        // No rate is told as infinite.
        let value = show(result.get(key)?).filter(|value| value != "inf")?;
        Some(Setting { name: name.to_owned(), value })
    };
    Ok(Told {
        name: String::new(),
        kind: Kind::Measured,
        case: CASE.iter().filter_map(|(key, name)| setting(key, name)).collect(),
        setup: SETUP.iter().filter_map(|key| setting(key, key)).collect(),
        figures: Value::Object(figures),
        run: Value::Null,
        requests,
    })
}

fn list<'a>(result: &'a Map<String, Value>, key: &str, length: usize) -> Result<Option<&'a [Value]>, String> {
    match result.get(key).and_then(Value::as_array) {
        None => Ok(None),
        Some(list) if list.len() == length => Ok(Some(list)),
        Some(list) => Err(format!("{key} has {} entries, and input_lens has {length}", list.len())),
    }
}

/// Its requests; none where it is not detailed.
fn requests(result: &Map<String, Value>) -> Result<Vec<Request>, String> {
    let Some(prompts) = result.get("input_lens").and_then(Value::as_array) else { return Ok(Vec::new()) };
    let of = |key: &str| list(result, key, prompts.len());
    let (outputs, ttfts, itls) = (of("output_lens")?, of("ttfts")?, of("itls")?);
    let (errors, starts, latencies) = (of("errors")?, of("start_times")?, of("latencies")?);
    let first = starts.into_iter().flatten().filter_map(Value::as_f64).fold(f64::INFINITY, f64::min);
    let one = |place: usize| {
        let at = |list: Option<&[Value]>| list.and_then(|list| list[place].as_f64());
        let output = outputs.and_then(|list| list[place].as_u64());
        let failed = errors.and_then(|list| list[place].as_str()).is_some_and(|error| !error.is_empty());
        let completed = !failed && output != Some(0);
        let ttft = at(ttfts).filter(|_| completed);
        let gaps = itls.and_then(|list| list[place].as_array());
        let gaps = gaps.map(|gaps| gaps.iter().filter_map(Value::as_f64).sum::<f64>());
        let latency = at(latencies).or_else(|| Some(ttft? + gaps?)).filter(|_| completed);
        let tpot = output.filter(|count| *count > 1).and_then(|count| Some((latency? - ttft?) / (count - 1) as f64));
        let sent = at(starts).map(|start| start - first);
        let millis = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1000.0);
        let after = |span: Option<f64>| millis(sent.zip(span).map(|(sent, span)| sent + span));
        Request {
            number: place as u64,
            status: if completed { "completed" } else { "errored" }.to_owned(),
            measured: true,
            sent_ms: millis(sent),
            first_token_ms: after(ttft),
            last_token_ms: after(latency),
            ttft_ms: millis(ttft),
            tpot_ms: millis(tpot),
            e2el_ms: millis(latency),
            prompt_tokens: prompts[place].as_u64(),
            output_tokens: output,
            ..Request::default()
        }
    };
    Ok((0..prompts.len()).map(one).collect())
}

/// Gaps between tokens, ms.
fn gaps(result: &Map<String, Value>) -> Vec<f64> {
    let lists = result.get("itls").and_then(Value::as_array).into_iter().flatten();
    lists.filter_map(Value::as_array).flatten().filter_map(Value::as_f64).map(|gap| gap * 1000.0).collect()
}
