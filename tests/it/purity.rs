//! The law of the core: a pure crate is told the time and asks for nothing. The compiler and clippy hold it to that as
//! long as the crates stay `no_std`; this holds them to being so.

use crate::support::project;
use std::path::Path;

fn sources(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_core_is_no_std_and_lets_no_lint_off() {
    for name in ["kvcache", "router", "sim"] {
        let root = project(name).join("src");
        let library = std::fs::read_to_string(root.join("lib.rs")).expect("every crate has one");
        assert!(library.contains("\n#![no_std]\n"), "{name} is no_std");
        let mut files = Vec::new();
        sources(&root, &mut files);
        assert!(files.len() > 5, "{name} has sources");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("it can be read");
            for forbidden in ["std::", "extern crate std", "allow(clippy::disallowed"] {
                let found = text.lines().find(|line| line.contains(forbidden) && !line.trim_start().starts_with("//"));
                assert_eq!(found, None, "{}: {forbidden}", file.display());
            }
        }
    }
}
