//! The settings of the engine, from the flags of `vllm serve`.

use std::collections::BTreeSet;

use super::command::Word;
use super::flags::{FLAGS, Takes};
use super::problem::{Code, Findings};
use crate::suggest;
use crate::yaml::quoted;

/// The flags of `vllm serve` that a simulation takes into account. `None`: not given, so the engine's default holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineArgs {
    /// `--model`, or the first word that is no flag: a path in the container, or a Hugging Face model.
    pub model: Option<String>,
    /// `--served-model-name`; the first one if there are several.
    pub served_model_name: Option<String>,
    /// `--tensor-parallel-size`: GPUs over which each layer is spread.
    pub tensor_parallel_size: Option<u32>,
    /// `--pipeline-parallel-size`: stages of layers.
    pub pipeline_parallel_size: Option<u32>,
    /// `--max-model-len`, tokens of prompt and reply together.
    pub max_model_len: Option<u64>,
    /// `--max-num-seqs`: requests in one pass.
    pub max_num_seqs: Option<u32>,
    /// `--max-num-batched-tokens`: tokens in one pass.
    pub max_num_batched_tokens: Option<u64>,
    /// `--gpu-memory-utilization`: the share of GPU memory that the engine may use, above 0 and up to 1.
    pub gpu_memory_utilization: Option<f64>,
    /// `--block-size`, tokens in an L0 block.
    pub block_size: Option<u32>,
    /// `--dtype`.
    pub dtype: Option<String>,
    /// `--quantization`.
    pub quantization: Option<String>,
    /// `--kv-cache-dtype`.
    pub kv_cache_dtype: Option<String>,
    /// `--enable-prefix-caching`, `--no-enable-prefix-caching`.
    pub enable_prefix_caching: Option<bool>,
    /// `--enable-chunked-prefill`, `--no-enable-chunked-prefill`.
    pub enable_chunked_prefill: Option<bool>,
    /// `--enforce-eager`, `--no-enforce-eager`: whether passes run without CUDA graphs.
    pub enforce_eager: Option<bool>,
    /// `--async-scheduling`, `--no-async-scheduling`.
    pub async_scheduling: Option<bool>,
    /// `--max-num-partial-prefills`: prompts prefilled at the same time.
    pub max_num_partial_prefills: Option<u32>,
    /// `--max-long-partial-prefills`: long ones among them.
    pub max_long_partial_prefills: Option<u32>,
    /// `--long-prefill-token-threshold`: from how many tokens a prompt is long.
    pub long_prefill_token_threshold: Option<u64>,
    /// `--scheduler-reserve-full-isl`, `--no-scheduler-reserve-full-isl`: admit a request only if its whole prompt
    /// fits.
    pub scheduler_reserve_full_isl: Option<bool>,
    /// `--num-gpu-blocks-override`: L0 blocks, whatever the memory would hold.
    pub num_gpu_blocks_override: Option<u64>,
    /// `--enable-prompt-tokens-details`: replies tell how many prompt tokens were cached.
    pub enable_prompt_tokens_details: Option<bool>,
}

/// Reads the words after `vllm serve`.
pub(super) fn read(words: &[Word], findings: &mut Findings) -> EngineArgs {
    let mut reader = Reader { args: EngineArgs::default(), seen: BTreeSet::new(), positional: None, findings };
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = reader.word(word, after);
    }
    // vLLM lets the model named without a flag win.
    if reader.positional.is_some() {
        reader.args.model = reader.positional;
    }
    reader.args
}

struct Reader<'a> {
    args: EngineArgs,
    /// Flags met so far, by their name without "no-".
    seen: BTreeSet<&'static str>,
    positional: Option<String>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    /// Takes one flag and its value; what is left is the result.
    fn word<'w>(&mut self, word: &Word, after: &'w [Word]) -> &'w [Word] {
        if !is_flag(&word.text) {
            self.bare(word);
            return after;
        }
        let (name, inline) = match word.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.text.as_str(), None),
        };
        if let Some((flag, value)) = name.split_once(char::is_whitespace) {
            let value = value.trim();
            let message = format!(
                "{} is a flag and its value in one item, which vLLM does not take apart; allowed: two items, or one \
                 item with \"=\"; did you mean {}?",
                quoted(&word.text),
                quoted(&format!("{flag}={value}"))
            );
            self.findings.problem(word.at, &word.path, message);
            return after;
        }
        // vLLM takes underscores for hyphens.
        let name = name.replace('_', "-");
        let positive = name.strip_prefix("--no-").map(|rest| format!("--{rest}"));
        for flag in FLAGS {
            match &flag.takes {
                Takes::Switch(set) if flag.name == name || positive.as_deref() == Some(flag.name) => {
                    self.once(flag.name, word);
                    self.switch(word, &name, inline, after.first());
                    set(&mut self.args, flag.name == name);
                    return after;
                }
                Takes::Value { set, many } if flag.name == name || flag.short == Some(name.as_str()) => {
                    self.once(flag.name, word);
                    return self.value(word, flag.name, inline, *set, *many, after);
                }
                Takes::Switch(_) | Takes::Value { .. } => {}
            }
        }
        self.not_simulated(word, &name);
        // Its values, if it has any, are whatever is no flag.
        &after[after.iter().take_while(|next| inline.is_none() && !is_flag(&next.text)).count()..]
    }

    fn switch(&mut self, word: &Word, name: &str, inline: Option<&str>, next: Option<&Word>) {
        let loose = next.filter(|next| matches!(next.text.to_lowercase().as_str(), "true" | "false"));
        let (value, at) = match (inline, loose) {
            (Some(value), _) => (value, word),
            (None, Some(next)) => (next.text.as_str(), next),
            (None, None) => return,
        };
        let on = name.strip_prefix("--no-").map_or_else(|| name.to_owned(), |rest| format!("--{rest}"));
        let off = on.replacen("--", "--no-", 1);
        let message = format!("{name} takes no value, and {} was given; allowed: {on}, {off}", quoted(value));
        self.findings.problem(at.at, &at.path, message);
    }

    fn value<'w>(
        &mut self,
        word: &Word,
        name: &str,
        inline: Option<&str>,
        set: fn(&mut EngineArgs, &str) -> Result<(), String>,
        many: bool,
        after: &'w [Word],
    ) -> &'w [Word] {
        let (value, at, rest) = match (inline, after.split_first()) {
            (Some(value), _) => (value, word, after),
            (None, Some((next, rest))) if !is_flag(&next.text) => (next.text.as_str(), next, rest),
            (None, _) => {
                let message = format!("{name} has no value; allowed: {name} VALUE in two items, or {name}=VALUE");
                self.findings.problem(word.at, &word.path, message);
                return after;
            }
        };
        if let Err(allowed) = set(&mut self.args, value) {
            self.findings.problem(at.at, &at.path, format!("{} is not a value of {name}; {allowed}", quoted(value)));
        }
        &rest[rest.iter().take_while(|next| many && !is_flag(&next.text)).count()..]
    }

    /// A word that is no flag and no value of one: the model, if it is the first.
    fn bare(&mut self, word: &Word) {
        // The value of a switch is reported there.
        if matches!(word.text.to_lowercase().as_str(), "true" | "false") {
            return;
        }
        if self.positional.is_none() {
            self.once("--model", word);
            self.positional = Some(word.text.clone());
        } else {
            self.not_simulated(word, &word.text);
        }
    }

    fn once(&mut self, name: &'static str, word: &Word) {
        if !self.seen.insert(name) {
            let counts =
                if name == "--model" { "a model without a flag counts, else the last" } else { "the last counts" };
            let message = format!("{name} is given more than once; {counts}: remove the others");
            self.findings.warn(Code::GivenTwice, word.at.line, &word.path, message);
        }
    }

    fn not_simulated(&mut self, word: &Word, name: &str) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        let meant = suggest::clause(name, FLAGS.iter().map(|flag| flag.name));
        let meant = if name.starts_with("--") { meant } else { String::new() };
        let message = format!("not simulated: {shown}{meant}");
        self.findings.warn(Code::NotSimulated, word.at.line, &word.path, message);
    }
}

/// Whether a word is a flag; a negative number is not.
fn is_flag(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1 && word.parse::<f64>().is_err()
}
