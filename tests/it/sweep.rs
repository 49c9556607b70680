//! Sweeps: folders that outlive a process, and what several machines make of one grid.

use crate::support::{Folder, podlab, project, said};
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Source, Tiers};
use driver::sweep::{Origin, Plan, Shard};
use router::Strategy;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

/// A grid of 24 runs of all kinds: with tiers and without, promises kept and broken, seeds.
const GRID: &str = "--requests 60 --strategy roundrobin,session --cache none,l0+l1+l2 --replicas 2 --concurrency 4,30 \
                    --seed 1,2,3 --slo p90_ttft<500ms --set docqa.document_tokens=16384";

fn command(words: &str) -> Option<Command> {
    let mut command = podlab()?;
    let mut words = words.split_whitespace();
    command.arg(words.next().expect("a command"));
    let rest: Vec<&str> = words.collect();
    if !matches!(rest.first(), Some(&"merge" | &"report")) {
        command.arg(project(SAMPLE));
    }
    command.args(rest);
    Some(command)
}

/// What `podlab words...` prints and says, and its exit code; the sample stands behind `simulate` and `sweep`.
fn run(words: &str) -> Option<(String, String, i32)> {
    Some(said(&command(words)?.output().expect("it runs")))
}

/// Every file below a folder with its bytes.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for below in ["", "runs"] {
        for entry in std::fs::read_dir(folder.join(below)).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_file() {
                let name = path.strip_prefix(folder).expect("it lies below").display().to_string();
                files.insert(name, std::fs::read(&path).expect("it can be read"));
            }
        }
    }
    files
}

fn swept(words: &str) -> Option<String> {
    let (stdout, stderr, status) = run(words)?;
    assert_eq!(status, 0, "{words}: {stderr}");
    Some(stdout)
}

#[test]
fn a_sweep_reports_what_simulate_prints() {
    let folder = Folder::new("sweep-report");
    let out = folder.path("grid");
    let of = |command: &str, format: &str| run(&format!("{command} -o {format}"));
    let Some(first) = of(&format!("sweep {GRID} --out {}", out.display()), "table") else { return };
    let Some(simulated) = of(&format!("simulate {GRID}"), "table") else { return };
    assert_eq!((first.0.as_str(), first.2), (simulated.0.as_str(), 0), "{}", first.1);
    assert_eq!(bytes(&out).len(), 26, "24 runs, the plan and the page");
    for format in ["table", "csv", "json"] {
        let report = of(&format!("sweep report {}", out.display()), format).expect("it ran before");
        let simulated = of(&format!("simulate {GRID}"), format).expect("it ran before");
        let same = |text: &str| text.split("\"process\"").next().map(str::to_owned);
        assert_eq!((same(&report.0), report.2), (same(&simulated.0), 0), "{}", report.1);
        assert!(report.0.len() > 1000);
    }
    // Warnings of runs belong to them.
    let few = folder.path("few");
    let grid =
        "--workload chat --requests 300 --rate 1 --replicas 1 --set chat.message_tokens=60000 --cache l0 --seed 1,2";
    let simulated = of(&format!("simulate {grid}"), "csv").expect("it ran before");
    let swept = of(&format!("sweep {grid} --out {}", few.display()), "csv").expect("it ran before");
    let report = of(&format!("sweep report {}", few.display()), "csv").expect("it ran before");
    let warnings = |text: &str| {
        text.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!((&simulated.0, warnings(&simulated.1)), (&swept.0, warnings(&swept.1)));
    assert!(
        !warnings(&simulated.1).is_empty() && warnings(&report.1).is_subset(&warnings(&simulated.1)),
        "{}",
        simulated.1
    );
    assert!(warnings(&report.1).iter().any(|warning| warning.contains("refused")), "{}", report.1);
}

#[test]
fn parts_merge_to_the_bytes_of_one_sweep() {
    let folder = Folder::new("sweep-merge");
    let path = |name: &str| folder.path(name).display().to_string();
    if swept(&format!("sweep {GRID} --threads 1 --out {}", path("whole"))).is_none() {
        return;
    }
    let whole = bytes(&folder.path("whole"));
    for shard in ["1/3", "2/3", "3/3"] {
        let name = path(&format!("part-{}", &shard[..1]));
        let stdout = swept(&format!("sweep {GRID} --threads 2 --shard {shard} --out {name}")).expect("it ran before");
        assert_eq!(stdout, "", "a part is no result");
        assert_eq!(bytes(Path::new(&name)).len(), 9, "a third of 24 runs, and the plan");
    }
    let (one, two, three) = (path("part-1"), path("part-2"), path("part-3"));
    for (name, parts) in [("merged", format!("{one} {two} {three}")), ("again", format!("{three} {one} {two} {one}"))] {
        let stdout = swept(&format!("sweep merge {parts} --out {} -o csv", path(name))).expect("it ran before");
        assert_eq!(bytes(&folder.path(name)), whole, "{parts}");
        assert_eq!(stdout, swept(&format!("sweep report {} -o csv", path("whole"))).expect("it ran before"));
    }
    let refused = |words: &str, code: i32, says: &[&str]| {
        let (stdout, stderr, status) = run(words).expect("it ran before");
        assert_eq!((status, stdout.as_str()), (code, ""), "{words}: {stderr}");
        assert!(says.iter().all(|word| stderr.contains(word)), "{words} should say {says:?}: {stderr}");
    };
    let missing = format!("sweep merge {one} {three} --out {}", path("new"));
    refused(
        &missing,
        3,
        &[
            "8 of 24 runs are missing: roundrobin-none-2x-c4-seed2 docqa.document_tokens=16384",
            "merge the parts that have them",
        ],
    );
    refused(&format!("sweep merge {one} {two} --out {}", path("whole")), 2, &["not an empty folder"]);
    refused(&format!("sweep report {one}"), 3, &["16 of 24 runs are missing", "the command that began it"]);
    refused(&format!("sweep merge {one} {} --out {}", path("."), path("new")), 3, &["sweep.json cannot be read"]);
    // One figure of one run is another: nobody can tell which is right.
    let other = whole.keys().find(|name| name.starts_with("runs/") && !folder.path("part-1").join(name).exists());
    let other = other.expect("another part has it").clone();
    let text = String::from_utf8(whole[&other].clone()).expect("it is text");
    let changed = text.replacen("\"requests\":60", "\"requests\":61", 1);
    assert_ne!(text, changed);
    std::fs::write(folder.path("part-1").join(&other), &changed).expect("it can be written");
    let all = format!("sweep merge {one} {two} {three} --out {}", path("new"));
    refused(&all, 3, &[&other, "differ, and both are the run"]);
    std::fs::write(folder.path("part-1").join(&other), &text[..text.len() / 2]).expect("it can be written");
    refused(&all, 3, &[&other, "remove it and sweep again"]);
    assert!(!folder.path("new").exists(), "nothing is half-merged");
    // A part of another grid.
    swept(&format!("sweep {} --out {}", GRID.replace("500ms", "400ms"), path("other"))).expect("it ran before");
    refused(
        &format!("sweep merge {two} {} --out {}", path("other"), path("new")),
        3,
        &["of two grids", "--slo p90_ttft<400ms, not p90_ttft<500ms"],
    );
}

#[test]
fn what_is_there_is_not_run_again() {
    let folder = Folder::new("sweep-resume");
    let out = folder.path("grid");
    let words = format!("sweep {GRID} --out {}", out.display());
    let Some(table) = swept(&words) else { return };
    let whole = bytes(&out);
    let runs: Vec<&String> = whole.keys().filter(|name| name.starts_with("runs/")).collect();
    let modified = || -> BTreeMap<String, std::time::SystemTime> {
        runs.iter()
            .map(|name| ((*name).clone(), out.join(name).metadata().and_then(|of| of.modified()).expect("it is there")))
            .collect()
    };
    // A run is gone, one is cut off, one is another's, and one was being written.
    std::fs::remove_file(out.join(runs[3])).expect("it is there");
    std::fs::write(out.join(runs[5]), &whole[runs[5]][..100]).expect("it can be written");
    std::fs::write(out.join(runs[7]), &whole[runs[8]]).expect("it can be written");
    std::fs::write(out.join("runs/.0123.json.part"), "{").expect("it can be written");
    let before: BTreeMap<_, _> = {
        std::fs::write(out.join(runs[3]), "").expect("it can be written");
        modified()
    };
    let (stdout, stderr, status) = run(&words).expect("it ran before");
    assert_eq!((status, stdout == table, bytes(&out) == whole), (0, true, true), "{stderr}");
    assert!(stderr.contains("21 of 24 runs are there"), "{stderr}");
    let after = modified();
    for (place, name) in runs.iter().enumerate() {
        assert_eq!(before[*name] != after[*name], [3, 5, 7].contains(&place), "{name}");
    }
    // More seeds: the grid grows, and its old runs stay. Fewer: it is not the same grid.
    let (_, stderr, status) = run(&words.replace("--seed 1,2,3", "--seed 1,2,3,4")).expect("it ran before");
    assert!(status == 0 && stderr.contains("24 of 32 runs are there"), "{stderr}");
    let (stdout, stderr, status) = run(&words).expect("it ran before");
    assert_eq!((status, stdout.as_str()), (2, ""), "{stderr}");
    assert!(
        stderr.contains("it holds a sweep with a run that is not asked for now, roundrobin-none-2x-c4-seed4"),
        "{stderr}"
    );
}

#[test]
fn folders_of_something_else_are_left_alone() {
    let folder = Folder::new("sweep-foreign");
    folder.file("note.txt", "mine");
    let refused = |words: &str, code: i32, says: &str| {
        let Some((stdout, stderr, status)) = run(words) else { return };
        assert_eq!((status, stdout.as_str()), (code, ""), "{words}: {stderr}");
        assert!(stderr.contains(says), "{words} should say {says:?}: {stderr}");
    };
    let here = folder.path(".").display().to_string();
    refused(&format!("sweep --requests 5 --out {here}"), 2, "is no folder of a sweep");
    refused(&format!("sweep --requests 5 --out {here}/note.txt"), 2, "cannot be written");
    assert_eq!(folder.names(), ["note.txt"]);
    refused("sweep --requests 5", 2, "--out DIR is missing");
    refused(&format!("sweep --requests 5 --out {here}/new --shard 3/2"), 2, "of the form I/N");
    refused(&format!("sweep --slo p90_ttft<1s --find rate --out {here}/new"), 2, "cannot be used with");
    refused(&format!("sweep --explain-request 1 --out {here}/new"), 2, "--explain-request is of podlab simulate");
    refused(&format!("sweep --set engine.block_size=1 --out {here}/new"), 2, "--set engine.block_size=1");
    refused(&format!("sweep report {here}"), 3, "not the folder of a sweep");
    assert_eq!(folder.names(), ["note.txt"], "nothing is left behind");
    folder.file("sweep.json", "{}");
    refused(&format!("sweep report {here}"), 3, "not what podlab writes");
}

/// Runs that last: eight, one after the other.
const LONG: &str = "--requests 6000 --concurrency 40 --strategy roundrobin,kvaware --seed 1,2,3,4 --threads 1";

fn begin(out: &Path) -> Option<Child> {
    let mut command = command(&format!("sweep {LONG} --out {}", out.display()))?;
    Some(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"))
}

/// Waits until a sweep has written so many runs; false: it was over before.
fn wait_for(child: &mut Child, out: &Path, runs: usize) -> bool {
    loop {
        let there = std::fs::read_dir(out.join("runs")).map_or(0, |entries| {
            entries
                .filter(|entry| entry.as_ref().is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.')))
                .count()
        });
        if there >= runs {
            return true;
        }
        if child.try_wait().expect("it can be asked").is_some() {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Asserts that all that `part` has is of `whole`, and gives how many runs that are.
fn is_part(part: &Path, whole: &BTreeMap<String, Vec<u8>>) -> usize {
    let there = bytes(part);
    let there: Vec<_> = there.iter().filter(|(name, _)| !name.starts_with("runs/.")).collect();
    for (name, bytes) in &there {
        assert_eq!(whole.get(*name), Some(*bytes), "{name} is whole or not there");
    }
    there.len() - 1
}

#[test]
fn a_sweep_that_is_killed_loses_at_most_the_run_in_progress() {
    let folder = Folder::new("sweep-killed");
    if swept(&format!("sweep {LONG} --out {}", folder.path("whole").display())).is_none() {
        return;
    }
    let whole = bytes(&folder.path("whole"));
    for runs in [1, 2, 3, 5] {
        let out = folder.path(&format!("killed-{runs}"));
        let mut child = begin(&out).expect("it ran before");
        let running = wait_for(&mut child, &out, runs);
        // Another one does not write there meanwhile.
        let other = running.then(|| run(&format!("sweep {LONG} --out {}", out.display())).expect("it ran before"));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        if let Some((_, stderr, status)) = other {
            assert!(status == 0 || (status == 2 && stderr.contains("another sweep is writing there")), "{stderr}");
        }
        assert!(is_part(&out, &whole) >= runs, "what was there stays");
        assert!(swept(&format!("sweep {LONG} --out {}", out.display())).is_some());
        assert_eq!(bytes(&out), whole);
    }
}

#[test]
fn an_interrupt_keeps_what_is_done() {
    let folder = Folder::new("sweep-interrupted");
    let out = folder.path("grid");
    let Some(mut child) = begin(&out) else { return };
    assert!(wait_for(&mut child, &out, 1), "eight runs take longer than one");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    let output = child.wait_with_output().expect("it ends");
    let (_, stderr, status) = said(&output);
    assert!(sent.success() && status == 130, "{status}: {stderr}");
    assert!(stderr.contains("of 8 runs are kept; the same command goes on with the others"), "{stderr}");
    swept(&format!("sweep {LONG} --out {}", out.display())).expect("it ran before");
    swept(&format!("sweep {LONG} --out {}", folder.path("whole").display())).expect("it ran before");
    assert_eq!(bytes(&out), bytes(&folder.path("whole")));
}

#[test]
fn each_run_is_in_exactly_one_shard() {
    for of in 1..=9_usize {
        let shards: Vec<Shard> =
            (1..=of).map(|index| Shard::parse(&format!("{index}/{of}")).expect("it is one")).collect();
        let mut counts = vec![0; of];
        for place in 0..100 {
            let owners: Vec<usize> = (0..of).filter(|shard| shards[*shard].has(place)).collect();
            assert_eq!(owners.len(), 1, "{place} of {of}");
            counts[owners[0]] += 1;
        }
        assert!(counts.iter().max() <= counts.iter().min().map(|least| least + 1).as_ref(), "{counts:?}");
    }
    for text in ["0/4", "5/4", "1", "1/0", "a/b", "-1/2", "1/2/3", ""] {
        assert!(Shard::parse(text).is_err(), "{text}");
    }
}

/// Whatever decides what a run says is in its digest.
#[test]
fn a_digest_covers_all_that_decides_a_run() {
    let (endpoint, _) = Endpoint::read(&project(SAMPLE)).expect("the sample is valid");
    let case = Case {
        strategy: Strategy::RoundRobin,
        cache: Tiers::L0,
        replicas: 2,
        load: Load::Rate(2.0),
        seed: 1,
        settings: BTreeMap::from([("api.latency".to_owned(), "5ms".to_owned())]),
    };
    let origin = Origin { endpoint: "a".to_owned(), trace: None, slo: None };
    let digest = |case: &Case, origin: &Origin, workload: &str, requests: u32| {
        let source = Source::read(workload, Some(requests)).expect("there is such a workload");
        let (endpoint, file) = (endpoint.clone(), "e.yaml".to_owned());
        let experiment = Experiment { endpoint, file, workload: workload.to_owned(), source };
        let assembled = experiment.assemble(case).expect("it can be simulated");
        Plan::of(&experiment, origin.clone(), &[(case.clone(), assembled)]).runs[0].digest.clone()
    };
    let first = digest(&case, &origin, "docqa", 10);
    assert_eq!(first, digest(&case, &origin, "docqa", 10), "the same is the same");
    let set = |key: &str, value: &str| {
        let mut settings = case.settings.clone();
        settings.insert(key.to_owned(), value.to_owned());
        digest(&Case { settings, ..case.clone() }, &origin, "docqa", 10)
    };
    let all = [
        first,
        digest(&Case { strategy: Strategy::Random, ..case.clone() }, &origin, "docqa", 10),
        digest(&Case { cache: Tiers::None, ..case.clone() }, &origin, "docqa", 10),
        digest(&Case { replicas: 3, ..case.clone() }, &origin, "docqa", 10),
        digest(&Case { load: Load::Rate(2.5), ..case.clone() }, &origin, "docqa", 10),
        digest(&Case { load: Load::Concurrency(2), ..case.clone() }, &origin, "docqa", 10),
        digest(&Case { load: Load::Users(2), ..case.clone() }, &origin, "docqa", 10),
        digest(&Case { seed: 2, ..case.clone() }, &origin, "docqa", 10),
        digest(&case, &Origin { endpoint: "b".to_owned(), ..origin.clone() }, "docqa", 10),
        digest(&case, &Origin { trace: Some("b".to_owned()), ..origin.clone() }, "docqa", 10),
        digest(&case, &Origin { slo: Some("p90_ttft<1s".to_owned()), ..origin.clone() }, "docqa", 10),
        digest(&case, &origin, "chat", 10),
        digest(&case, &origin, "docqa", 11),
        set("api.latency", "6ms"),
        set("docqa.users", "7"),
        set("router.audit", "true"),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    assert!(all.iter().all(|digest| digest.len() == 32));
}

#[test]
fn a_grid_may_come_from_a_lab_file() {
    let folder = Folder::new("sweep-lab");
    let lab = folder.file("grid.yaml", "docqa:\n  document_tokens: [1024, 2Ki]\napi.latency: [1ms, 5ms]\n");
    let out = folder.path("grid");
    let Some(stdout) = swept(&format!("sweep --requests 10 --lab {} --out {} -o json", lab.display(), out.display()))
    else {
        return;
    };
    let result: Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!(result["runs"].as_array().map(Vec::len), Some(4));
    assert_eq!(result["runs"][3]["settings"]["docqa.document_tokens"], "2048");
}

#[test]
fn a_dry_run_tells_what_is_there_and_writes_nothing() {
    let folder = Folder::new("sweep-dry");
    let out = folder.path("grid");
    let grid = |more: &str| format!("sweep --requests 10 --users 2,3 --cache l0 --out {} {more}", out.display());
    let Some(before) = swept(&grid("--dry-run")) else { return };
    assert_eq!(before, "to do     prefixaware-l0-7x-u2-seed0\nto do     prefixaware-l0-7x-u3-seed0\n");
    assert!(!out.exists(), "nothing is written");
    assert!(swept(&grid("--shard 2/2")).is_some());
    let kept = bytes(&out);
    let after = swept(&grid("--dry-run")).expect("it ran before");
    assert_eq!(after, before.replace("to do     prefixaware-l0-7x-u3", "is there  prefixaware-l0-7x-u3"));
    let parts = swept(&grid("--dry-run --shard 1/2 -o json")).expect("it ran before");
    let run: Value = serde_json::from_str(&parts).expect("it is one object");
    assert_eq!((&run["run"], &run["there"]), (&"prefixaware-l0-7x-u2-seed0".into(), &false.into()));
    assert_eq!(bytes(&out), kept);
    // What is not of this grid is told as it would be.
    let (_, stderr, status) = told(&grid("--dry-run --seed 4"));
    assert!(status == 2 && stderr.contains("it holds a sweep with a run that is not asked for now"), "{stderr}");
    for (words, why) in [("--out nowhere", "--out has nothing to keep"), ("--slo p90_ttft<1s", "no --slo is kept")] {
        let (_, stderr, status) = told(&format!("simulate --dry-run {words}"));
        assert!(status == 2 && stderr.contains(why), "{stderr}");
    }
}

fn told(words: &str) -> (String, String, i32) {
    run(words).expect("it ran before")
}
