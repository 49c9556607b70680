//! Closed loops give back the factors that played them, on groups left out as well.

use driver::calibrate::closed::{ClosedLoop, Protocol};
use driver::calibrate::factors::{Factor, Setup};
use driver::calibrate::judge::{Effort, calibrate};
use driver::calibrate::table::{Row, Rows, read};
use sim::cost::deployment::Deployment;

use crate::support::Folder;

/// The setup that plays what is then measured.
fn truth() -> Setup {
    let mut truth = Setup::served();
    let factors = [
        (Factor::Gemm, 0.61),
        (Factor::WeightRead, 0.82),
        (Factor::KvRead, 0.43),
        (Factor::PerLayer, 41.5),
        (Factor::AllReduce, 3.4),
        (Factor::ApiLatency, 11.0),
    ];
    factors.into_iter().for_each(|(factor, value)| factor.put(&mut truth, value));
    truth
}

/// A table of loops on H100s that nobody has measured yet.
fn table(folder: &Folder) -> std::path::PathBuf {
    let mut text = String::from(
        "backend,model_path,system,precision,isl,osl,gemm_quant_mode,batch_size,tp_size,silicon_ttft_ms,silicon_tpot_ms\n",
    );
    for tp in [2, 4, 8] {
        for (prompt, output) in [(1024, 1024), (8192, 1024)] {
            for concurrency in [4, 16, 32] {
                text.push_str(&format!(
                    "vllm,meta-llama/Llama-3.1-70B,h100_sxm,fp8,{prompt},{output},fp8,{concurrency},{tp},1,1\n"
                ));
            }
        }
    }
    folder.file("table.csv", &text)
}

#[test]
fn loops_give_back_what_played_them() {
    let folder = Folder::new("calibrate-loops");
    let mut rows = read(&table(&folder)).expect("a table");
    for row in &mut rows {
        let played = row.closed.play(&truth());
        (row.ttft, row.tpot) = (played.ttft, played.tpot);
    }
    let bench = Rows::new(rows.iter().collect::<Vec<&Row>>());
    assert_eq!(bench.groups().len(), 6);
    let told =
        [Factor::Gemm, Factor::WeightRead, Factor::KvRead, Factor::PerLayer, Factor::AllReduce, Factor::ApiLatency];
    let found = calibrate(&bench, &told, Setup::served(), Effort { folds: 3, ..Effort::default() });
    for of in &found.found {
        let (low, high) = of.interval.unwrap_or_else(|| panic!("{} is told", of.factor.name()));
        let value = of.factor.of(&truth());
        assert!(low <= value && value <= high, "{}: {value} is not within {low} to {high}", of.factor.name());
    }
    for errors in found.held_out.as_ref().expect("groups were left out") {
        let size = errors.median_size().expect("there are some");
        assert!(size < 0.01, "{:?} is off by {size}", errors.kind);
    }
    let before = calibrate(&bench, &[], Setup::served(), Effort { folds: 3, ..Effort::default() });
    let size = before.training[0].median_size().expect("there are some");
    assert!(size > 0.05, "published factors miss them by {size}, else this shows nothing");
}

/// InferenceX's loops begin with a burst, so their mean TTFT grows with how many are in flight; in a steady state it hardly does.
#[test]
fn a_burst_is_most_of_the_mean() {
    let folder = Folder::new("calibrate-burst");
    let rows = read(&table(&folder)).expect("a table");
    let of = |concurrency: u32, protocol: Protocol| {
        let row = rows.iter().find(|row| row.closed.concurrency == concurrency && row.closed.output == 1_024);
        let closed = ClosedLoop { protocol, ..row.expect("it is there").closed.clone() };
        closed.play(&Setup::served()).ttft
    };
    assert_eq!(ClosedLoop::protocol_of(1_024, 8_192, 64), Protocol::InferenceX);
    assert_eq!(ClosedLoop::protocol_of(2_000, 100, 64), Protocol::Steady);
    let [burst, steady] = [Protocol::InferenceX, Protocol::Steady].map(|protocol| of(32, protocol) / of(4, protocol));
    assert!(burst > 1.3 * steady, "{burst} times as long in a burst, {steady} in a steady state");
}

/// A loop that cannot all be in memory waits there; the deployment says so, not the table.
#[test]
fn rows_say_what_ran() {
    let folder = Folder::new("calibrate-rows");
    let rows = read(&table(&folder)).expect("a table");
    let Deployment { tp, max_num_batched_tokens, .. } = rows[0].closed.deployment;
    assert_eq!((tp, max_num_batched_tokens.0), (2, 8_192));
    assert_eq!(rows[0].profile, "vllm H100 fp8");
    let bad = |line: &str, words: &str| {
        let head = std::fs::read_to_string(table(&folder)).expect("it was written");
        let text = format!("{}\n{line}\n", head.lines().next().expect("a head"));
        let said = read(&folder.file("bad.csv", &text)).expect_err(words).to_string();
        assert!(said.contains("bad.csv:2: ") && said.contains(words), "{said}");
    };
    bad("vllm,Llama-9,h100_sxm,fp8,1024,1024,fp8,4,2,1,1", "model_path: \"Llama-9\" is not known");
    bad("vllm,Llama-3.1-70B,x9,fp8,1024,1024,fp8,4,2,1,1", "the GPU \"x9\" is not in the catalogue");
    bad("vllm,Llama-3.1-70B,h100_sxm,fp8,1024,1024,fp8,4,2,0,1", "silicon_ttft_ms: \"0\" is no number above 0");
    bad("vllm,Llama-3.1-70B,h100_sxm,fp8,1024,1024,int3,4,2,1,1", "gemm_quant_mode: \"int3\"");
    bad("vllm,Llama-3.1-70B,h100_sxm,,1024,1024,,4,1,1,1", "failed to deploy");
}
