//! The schema of a lab file against its parser: each accepts what the other does.

use crate::router::Chance;
use crate::support::{Folder, podlab, project, said};
use driver::lab::settings::{SETTINGS, Setting};
use driver::lab::{Lab, file, init, schema};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema::schema()).expect("it is a schema")
}

/// Whether the parser takes this lab file; JSON is YAML.
fn parses(lab: &Value) -> bool {
    file::parse(&lab.to_string(), "lab.json").is_ok()
}

/// Values that mean something to some setting, near what each takes, and what none takes.
fn values() -> Vec<Value> {
    let mut values =
        vec![json!(null), json!(true), json!(false), json!([]), json!({}), json!([[1]]), json!({"a": 1}), json!("")];
    let numbers = [
        "0", "1", "2", "16", "0.5", "1.5", "0.001", "0.0005", "0.29", "0.9995", "1.001", "0.1", "0.09", "10", "10.5",
        "11",
    ];
    let more =
        ["60", "61", "100", "128", "128.5", "999", "1000", "1001", "4095", "65536", "1000000", "1000001", "4294967295"];
    let big = ["4294967296", "-1", "0.1005", "3", "3.1", "1e3", "1e20", "2.5"];
    for text in numbers.iter().chain(&more).chain(&big) {
        values.push(serde_json::from_str(text).expect("it is a number"));
        // An exponent in quotes is what the schema does not offer.
        if !text.contains('e') {
            for unit in [
                "", "k", "m", "Ki", "Mi", "K", "B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "Gi", "b", "gb",
            ] {
                values.push(format!("{text}{unit}").into());
            }
            for unit in [
                "ns", "us", "ms", "s", "min", "h", "d", " ms", " GiB", "GB/s", "MB/s", "Gbit/s", "Mbit/s", "Gbps",
                "TiB/s", "/s",
            ] {
                values.push(format!("{text}{unit}").into());
            }
        }
    }
    let edges = "3600s 3601s 59min 60min 61min 1h 2h 5s 5001ms 5000ms 3600000ms 3600001ms 15MiB 16MiB 16777216B 16777215B 1024TiB \
                 1025TiB 1125899906842624B 1125899906842625B 1TB/s 1.1TB/s 1000GB/s 1001GB/s 8000Gbit/s 8001Gbit/s 8Mbit/s 7Mbit/s 1MB/s \
                 0.9MB/s 0.001ns 0.0001ns 0.001us 0.000001us 4294Mi 4095Mi 4096Mi 4194303Ki 4194304Ki 4294967k 4294968k true \
                 false on off yes none never lru LRU lfu mru rank worker redis tieredstorage blocking overlapped layerwise cost always \
                 open closed constant running waiting kv_usage 0s:1/10s:2 60s:0.5/2min:1 10% 99.5% 100% keep merge sequential batched soon nan inf 0x10 00 007 1_000";
    values.extend(edges.split_whitespace().map(Value::from));
    let schedules =
        ["60s crash 1", "1h replicas 3; 2h l2 silent for 5min\n3h slow 1 by 2.5 # one\n", "1h replicas", "crash 1 60s"];
    values.extend(schedules.map(Value::from));
    values
}

/// What the parser is more generous about than the schema offers.
fn is_left_out(setting: &Setting, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        // A name that looks like something else.
        return setting.takes == "name" && (value.is_boolean() || value.is_number());
    };
    let kind = setting.takes.split(' ').next().unwrap_or_default();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let multiple = ["k", "m", "Ki", "Mi"].iter().any(|unit| text.len() > digits.len() && text.ends_with(unit));
    let zeros = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    match kind {
        // Fractions of multiples, and numbers in quotes that have no unit.
        "count" | "tokens" | "blocks" => zeros || multiple && digits.contains('.') || text.contains('.'),
        "number" | "fraction" => true,
        // More decimals than a unit needs, fractions of bytes, zeros of any kind.
        "size" | "bandwidth" => {
            zeros || text.ends_with("B") && digits.contains('.') && !text.ends_with("iB") || digits.contains('.')
        }
        "count," if text.bytes().all(|byte| byte.is_ascii_digit()) => true,
        "time" | "count," => zeros || digits.contains('.') || text == "0ns" || digits == "0",
        _ => false,
    }
}

#[test]
fn whatever_the_schema_admits_the_parser_takes_and_back() {
    let (validator, values) = (validator(), values());
    let (mut good, mut bad, mut generous) = (0, 0, 0);
    for setting in SETTINGS {
        let (section, name) = setting.key.split_once('.').expect("a section and a name");
        let mut taken = 0;
        for (place, value) in values.iter().enumerate() {
            let dotted = json!({ setting.key: value });
            // The two ways to write a key have the same values.
            let nested = place.is_multiple_of(11).then(|| json!({ section: { name: value } }));
            for lab in std::iter::once(dotted).chain(nested) {
                let (admitted, parsed) = (validator.is_valid(&lab), parses(&lab));
                if admitted != parsed && !admitted && is_left_out(setting, value) {
                    generous += 1;
                    continue;
                }
                assert_eq!(admitted, parsed, "{lab}: admitted {admitted}, parsed {parsed}");
                if parsed { taken += 1 } else { bad += 1 }
            }
            // ... and one that is wrong makes a list wrong.
            if place.is_multiple_of(101) {
                let list = json!({ setting.key: [value, values[0]] });
                assert!(!validator.is_valid(&list) && !parses(&list), "{list}");
            }
        }
        assert!(taken > 0, "{} takes something", setting.key);
        good += taken;
    }
    assert!(good > 3_000 && bad > 20_000 && generous < good, "{good} {bad} {generous}");
}

/// A value that the schema's own words describe.
fn drawn(form: &Value, chance: &mut Chance) -> Value {
    if let Some(forms) = form["anyOf"].as_array() {
        return drawn(&forms[chance.pick(forms.len())], chance);
    }
    if let Some(values) = form["enum"].as_array() {
        return values[chance.pick(values.len())].clone();
    }
    if !form["const"].is_null() {
        return form["const"].clone();
    }
    if let Some(pattern) = form["pattern"].as_str() {
        let pattern = pattern.replace("(?!0+(?:\\.0+)?[^0-9.])", "");
        let mut strategy = Drawn::new(&pattern, chance);
        return strategy.text().into();
    }
    let (low, high) = (form["minimum"].as_f64(), form["maximum"].as_f64());
    let part = chance.below(1_000_001) as f64 / 1e6;
    match (form["type"].as_str(), low, high) {
        (Some("boolean"), ..) => (chance.below(2) == 0).into(),
        (Some("string"), ..) => format!("name-{}", chance.below(100)).into(),
        (Some("integer"), Some(low), Some(high)) => ((low + (high - low) * part) as u64).into(),
        (Some("number"), Some(low), Some(high)) if form["multipleOf"].is_number() => {
            let thousandths = ((low + (high - low) * part) * 1000.0).round();
            (thousandths / 1000.0).into()
        }
        (Some("number"), Some(low), Some(high)) => (low + (high - low) * part).into(),
        other => panic!("{form}: {other:?}"),
    }
}

/// Texts of a pattern.
struct Drawn<'a> {
    pattern: Vec<char>,
    at: usize,
    chance: &'a mut Chance,
}

impl<'a> Drawn<'a> {
    fn new(pattern: &str, chance: &'a mut Chance) -> Self {
        Self { pattern: pattern.trim_matches(['^', '$']).chars().collect(), at: 0, chance }
    }

    /// All alternatives are read and one of them is taken.
    fn text(&mut self) -> String {
        let mut alternatives = vec![String::new()];
        while let Some(&next) = self.pattern.get(self.at) {
            match next {
                ')' => break,
                '|' => {
                    self.at += 1;
                    alternatives.push(String::new());
                    continue;
                }
                _ => {}
            }
            let one = self.piece();
            alternatives.last_mut().expect("there is one").push_str(&one);
        }
        let taken = self.chance.pick(alternatives.len());
        alternatives.swap_remove(taken)
    }

    /// A character, a class or a group, as often as it says.
    fn piece(&mut self) -> String {
        let begin = self.at;
        let mut once = self.once();
        let (least, most) = match self.pattern.get(self.at) {
            Some('?') => (0, 1),
            Some('+') => (1, 3),
            Some('*') => (0, 3),
            Some('{') => {
                let end = self.at + self.pattern[self.at..].iter().position(|c| *c == '}').expect("it ends");
                let text: String = self.pattern[self.at + 1..end].iter().collect();
                self.at = end;
                let (least, most) = text.split_once(',').unwrap_or((&text, &text));
                (least.parse().expect("a number"), most.parse().expect("a number"))
            }
            _ => return once,
        };
        let behind = self.at + 1;
        let count = least + self.chance.below(most - least + 1);
        let mut all = String::new();
        for round in 0..count {
            if round > 0 {
                self.at = begin;
                once = self.once();
            }
            all.push_str(&once);
        }
        self.at = behind;
        all
    }

    fn once(&mut self) -> String {
        let next = self.pattern[self.at];
        self.at += 1;
        match next {
            '(' => {
                assert_eq!(self.pattern[self.at..self.at + 2], ['?', ':']);
                self.at += 2;
                let text = self.text();
                // Behind the bracket.
                self.at += 1;
                text
            }
            '[' => {
                let (low, high) = (self.pattern[self.at], self.pattern[self.at + 2]);
                assert_eq!((self.pattern[self.at + 1], self.pattern[self.at + 3]), ('-', ']'));
                self.at += 4;
                let code =
                    u64::from(u32::from(low)) + self.chance.below(u64::from(u32::from(high) - u32::from(low)) + 1);
                char::from_u32(code as u32).expect("a digit").to_string()
            }
            '\\' => {
                self.at += 1;
                self.pattern[self.at - 1].to_string()
            }
            other => other.to_string(),
        }
    }
}

#[test]
fn what_is_drawn_from_the_schema_is_parsed() {
    let (schema, validator) = (schema::schema(), validator());
    let mut chance = Chance::new(8);
    let mut refused_zeros = 0;
    for setting in SETTINGS {
        let property = &schema["properties"][setting.key];
        for _ in 0..400 {
            let form = property["anyOf"][0]["$ref"].as_str().expect("what values are is told once");
            let value = drawn(schema.pointer(&form[1..]).expect("it is there"), &mut chance);
            let lab = json!({ setting.key: value });
            if !validator.is_valid(&lab) {
                // What was drawn without the condition that it is not zero.
                let text = value.as_str().unwrap_or_else(|| panic!("{lab} was drawn, and is not valid"));
                assert!(text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse() == Ok(0.0), "{lab}");
                assert!(!parses(&lab), "{lab}");
                refused_zeros += 1;
                continue;
            }
            if let Err(problem) = file::parse(&lab.to_string(), "lab.json") {
                // A schema cannot say that times are in order.
                if setting.takes.starts_with("list") && value != "constant" {
                    continue;
                }
                panic!("{lab} is drawn from the schema: {problem}");
            }
        }
    }
    assert!(refused_zeros < 2_000, "{refused_zeros}");
}

#[test]
fn files_as_a_whole() {
    let validator = validator();
    for (lab, good) in [
        (json!({}), true),
        (json!(null), true),
        (json!([]), false),
        (json!("engine"), false),
        (json!({"engine": {"block_size": 32}, "engine.max_num_seqs": [1, 2], "l1": {"bytes": ["5GiB", "10GB"]}}), true),
        (json!({"engine": {}}), true),
        (json!({"engine": null}), false),
        (json!({"engines": {}}), false),
        (json!({"engine": {"block_size": {}}}), false),
        (json!({"engine.block_size": {}}), false),
        (json!({"engine": {"blocksize": 32}}), false),
        (json!({"engines": {"block_size": 32}}), false),
        (json!({"engine": {"max_num_seqs": [4, 4]}}), false),
        (json!({"engine": {"max_num_seqs": {"a": 4}}}), false),
    ] {
        assert_eq!((validator.is_valid(&lab), parses(&lab)), (good, good), "{lab}");
    }
    // What every run says of itself is a lab file.
    let described = Lab::default().describe();
    let told: Map<String, Value> = described
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let told = Value::Object(told);
    assert!(
        validator.is_valid(&told) && parses(&told),
        "{:?}",
        validator.iter_errors(&told).next().map(|error| error.to_string())
    );
}

#[test]
fn every_setting_stands_in_the_schema_with_its_meaning_and_default() {
    let schema = schema::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let mut defaults = 0;
    for setting in SETTINGS {
        let (section, name) = setting.key.split_once('.').expect("a section and a name");
        let property = &schema["properties"][setting.key];
        assert_eq!(property, &schema["properties"][section]["properties"][name]);
        let told = property["description"].as_str().expect("it is told");
        assert!(
            told.contains(setting.means) && told.contains(setting.takes) && told.contains(setting.default),
            "{told}"
        );
        if !property["default"].is_null() {
            let mut lab = Lab::default();
            let text = property["default"].as_str().map_or_else(|| property["default"].to_string(), str::to_owned);
            lab.set(setting.key, &text).expect("a default is a value");
            assert_eq!(lab, Lab::default(), "{} is not {text} unless set", setting.key);
            defaults += 1;
        }
    }
    assert!(defaults > SETTINGS.len() / 2, "{defaults}");
}

#[test]
fn the_schema_that_editors_find_is_the_one_that_is_printed() {
    let there = std::fs::read_to_string(project("driver/schemas/lab.schema.json")).expect("it is there");
    assert_eq!(
        there,
        format!("{:#}\n", schema::schema()),
        "write it again: podlab lab schema > driver/schemas/lab.schema.json"
    );
    let Some(mut command) = podlab() else { return };
    let (stdout, stderr, status) = said(&command.args(["lab", "schema"]).output().expect("it runs"));
    assert_eq!((stdout, stderr.as_str(), status), (there, "", 0));
}

#[test]
fn the_file_to_begin_with_changes_nothing_and_each_of_its_lines_is_valid() {
    let text = init::text();
    assert_eq!(file::parse(&text, "podlab.yaml"), Ok(vec![]), "it changes nothing");
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.is_empty() && !line.starts_with(' '))
        .collect();
    let keys: Vec<&str> = lines.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(keys, SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>(), "every setting, once, in order");
    let mut all = Lab::default();
    for (line, setting) in lines.iter().zip(SETTINGS) {
        let axes = file::parse(line, "podlab.yaml").unwrap_or_else(|problem| panic!("{line}: {problem}"));
        let mut lab = Lab::default();
        lab.set(&axes[0].key, &axes[0].values[0]).expect("it was read");
        let example = text.contains(&format!("takes: {}; default: {}\n#{line}", setting.takes, setting.default));
        assert!(example || lab == Lab::default(), "{line} is no default, and does not say so");
        if !example {
            all.set(&axes[0].key, &axes[0].values[0]).expect("it was read");
        }
    }
    assert_eq!(all, Lab::default());
    assert!(text.lines().all(|line| line.chars().count() <= 160 && !line.contains('\t')), "it fits a screen");
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let folder = Folder::new("lab-init");
    let new = folder.path("podlab.yaml");
    for (code, words) in [(0, "every setting, commented out"), (2, "it is there already, and is not replaced")] {
        let Some(mut command) = podlab() else { return };
        let (stdout, stderr, status) = said(&command.args(["lab", "init"]).arg(&new).output().expect("it runs"));
        assert_eq!((stdout.as_str(), status), ("", code), "{stderr}");
        assert!(stderr.contains(words) && stderr.contains("podlab.yaml"), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(&new).expect("it was written"), init::text());
    assert_eq!(folder.names(), ["podlab.yaml"]);
    let Some(mut command) = podlab() else { return };
    let output = command.args(["lab", "init"]).output().expect("it runs");
    assert_eq!(said(&output), (init::text(), String::new(), 0));
}

/// A file with every example in it is one that runs, and serves.
#[test]
fn the_examples_make_a_lab_together() {
    let folder = Folder::new("lab-all");
    let all: Vec<String> = init::text()
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.is_empty() && !line.starts_with(' '))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(all.len(), SETTINGS.len());
    let lab = folder.file("all.yaml", &all.concat());
    let Some(mut command) = podlab() else { return };
    let sample = project("driver/examples/aws-blog-70b.yaml");
    command.arg("simulate").arg(sample).args(["-o", "json", "--requests", "200", "--lab"]).arg(lab);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!((status, stderr.as_str()), (0, ""));
    let told: Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!(told["runs"][0]["completed"], 200);
}
