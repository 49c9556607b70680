//! Runs of a matrix on several threads.

use super::{SAMPLE, simulate};
use crate::support::{Folder, project, said};
use serde_json::Value;

/// The runs, what was said besides, and the files that were written.
type Told = (Value, String, Vec<(String, Vec<u8>)>);

/// What is printed, said and written does not depend on how many threads there are.
#[test]
fn threads_change_nothing() {
    let folder = Folder::new("threads");
    let run = |threads: &str| -> Option<Told> {
        let mut command = simulate()?;
        let out = folder.path(threads);
        // Some runs take far longer than others, and some have something to say.
        let matrix =
            ["--strategy", "hyperpod,predicted-ttft", "--workload", "mixed", "--rate", "2,60", "--seed", "1,2"];
        command.arg(project(SAMPLE)).args(matrix).args(["--requests", "900", "--replicas", "2", "-o", "json"]);
        command.args(["--threads", threads, "--out"]).arg(&out);
        let (stdout, stderr, status) = said(&command.output().expect("it runs"));
        assert_eq!(status, 0, "{stderr}");
        let json: Value = serde_json::from_str(&stdout).expect("it is JSON");
        let stderr = stderr.lines().filter(|line| !line.starts_with("wrote ")).collect::<Vec<_>>().join("\n");
        let mut files = Vec::new();
        let mut names: Vec<_> =
            std::fs::read_dir(&out).expect("it was written").map(|entry| entry.unwrap().path()).collect();
        names.sort();
        // The page of all tells their number of threads as part of the command.
        for run in names.into_iter().filter(|path| path.is_dir()) {
            for file in ["requests.jsonl", "summary.json"] {
                let name = format!("{}/{file}", run.file_name().unwrap().display());
                files.push((name, std::fs::read(run.join(file)).expect("each run has it")));
            }
        }
        Some((json["runs"].clone(), stderr, files))
    };
    let Some(one) = run("1") else { return };
    assert_eq!((one.0.as_array().map(Vec::len), one.2.len()), (Some(20), 40));
    assert!(one.1.contains("overloaded") || one.1.contains("forgets nothing"), "some say something: {}", one.1);
    for threads in ["2", "7"] {
        let Some(other) = run(threads) else { return };
        assert!(one == other, "{threads} threads: {}", other.1);
    }
}
