//! Holds `src/nat/requirements.rs` to its word: every demand of the RFCs has its row, every row its test, and every MUST is
//! met but for those that are named here as open.
//!
//! Guarantees: the demands are counted here, by number, letter and level; a test that a row names is a function with `#[test]`,
//! not ignored, in the module that its path leads to, or a step of a scenario. Never: judges whether a test shows what its row says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What an RFC demands, by level: a demand of two levels stands twice.
struct Rfc {
    number: &'static str,
    must: &'static str,
    should: &'static str,
    may: &'static str,
}

const RFCS: [Rfc; 5] = [
    Rfc {
        number: "4787",
        must: "1, 3, 5, 6, 7, 9, 9 a, 11, 12, 13, 13 a, 14, 14 a",
        should: "2, 3 a, 4, 5 c, 8, 10, 10 a, 12 a, 12 b, 13 a",
        may: "5 a, 5 b, 6 a, 8 a",
    },
    Rfc {
        number: "5382",
        must: "1, 2, 2 a, 4, 4 a, 5, 7, 8, 8 a, 10",
        should: "3, 4, 6, 9",
        may: "3 a, 3 b, 5 a",
    },
    Rfc {
        number: "5508",
        must: "1, 2, 3 b, 3 d, 4 a, 4 b, 4 c, 5 a, 5 b, 5 c, 6, 7, 7 a, 10 a 1, 10 a 2, 10 a 3",
        should: "1 a, 2 a, 3, 3 a, 3 c, 4, 5, 8, 10 c 1, 10 c 2, 10 d, 10 e, 10 f",
        may: "9, 10 b 1, 10 b 2, 10 b 3, 10 b 4, 10 b 5, 10 b 6, 11",
    },
    Rfc {
        number: "6888",
        must: "1, 1 a, 1 b, 1 c, 1 d, 2, 3, 4, 4 a, 6, 8, 9, 11 a, 11 d",
        should: "3, 4 c, 5, 5 a, 5 b, 7, 8, 9, 10, 11 b, 11 c, 12, 13, 14, 15",
        may: "2, 4 b, 7, 8 a, 8 b, 8 c",
    },
    Rfc {
        number: "7857",
        must: "2.2, 5, 6, 12, 13",
        should: "2, 2.1, 2.2, 4, 5, 6, 7, 7.1, 8, 9, 10",
        may: "2.1, 3, 4, 5, 6, 7.1, 8, 11",
    },
];

impl Rfc {
    fn demands(&self) -> BTreeSet<(String, String)> {
        let levels = [("MUST", self.must), ("SHOULD", self.should), ("MAY", self.may)];
        let of = |(level, demands): (&str, &str)| {
            let pair = |demand: &str| (demand.to_owned(), level.to_owned());
            demands.split(", ").filter(|demand| !demand.is_empty()).map(pair).collect::<Vec<_>>()
        };
        levels.into_iter().flat_map(of).collect()
    }
}

/// What is known to be missing, and whoever claims the RFCs for `ces` must say: nothing else may be, and what no longer is
/// leaves this list.
const OPEN: [&str; 0] = [];

#[test]
fn every_requirement_has_its_test() {
    let list = read(&root().join("src/nat/requirements.rs")).expect("the list");
    let found = violations(&list, &RFCS, exists);
    let unknown: Vec<_> = found.iter().filter(|violation| !OPEN.contains(&violation.as_str())).collect();
    assert!(unknown.is_empty(), "{} violations: {unknown:#?}", unknown.len());
    for open in OPEN {
        assert!(found.iter().any(|violation| violation == open), "met by now: {open}");
    }
}

/// RFC 6888 REQ-12: whoever makes mappings and sessions says nothing about them.
#[test]
fn nothing_of_a_mapping_is_logged() {
    let speaks = |source: &str| {
        ["log::", "tracing::", "println!", "eprintln!", "syslog", "dbg!"]
            .iter()
            .any(|word| source.contains(word))
    };
    assert!(speaks("fn f() { log::info!(\"to {destination}\") }"));
    for room in ["nat", "flow"] {
        let files = sources(&root().join("src").join(room));
        assert!(files.len() > 5, "{room}");
        for file in files {
            assert!(!speaks(&read(&file).expect("a source file")), "{}", file.display());
        }
    }
}

const SMALL: [Rfc; 1] = [Rfc { number: "9", must: "1, 1 a", should: "2", may: "3" }];
const RIGHT: &str = "//! # RFC 9: all\n//!\n//! | demand | level | asks | how | tests |\n//! |---|---|---|---|---|\n\
    //! | REQ-1 | MUST | a | b | `known`, `known` |\n//! | REQ-1 a | MUST | a | b | `known` |\n\
    //! | REQ-2 | SHOULD | a | unmet: it costs too much | - |\n//! | REQ-3 | MAY | a | not done | - |\n";

#[test]
fn what_is_right_is_not_flagged() {
    assert_eq!(violations(RIGHT, &SMALL, |test| test == "known"), Vec::<String>::new());
    let met =
        RIGHT.replace("unmet: it costs too much | -", "so | `known`").replace("not done | -", "so | `known`");
    assert_eq!(violations(&met, &SMALL, |test| test == "known"), Vec::<String>::new());
}

#[test]
fn every_kind_of_violation_is_seen() {
    let row = "//! | REQ-1 a | MUST | a | b | `known` |";
    for (from, to, expected) in [
        (row, "//!", "RFC 9: 1 a (MUST) has no row"),
        ("# RFC 9:", "# RFC 8:", "RFC 9: 1 (MUST) has no row"),
        ("| REQ-1 a | MUST |", "| REQ-1 a | SHOULD |", "RFC 9: 1 a (MUST) has no row"),
        ("| REQ-1 a | MUST |", "| REQ-1 a | SHOULD |", "RFC 9: 1 a (SHOULD) is no demand of it"),
        ("| REQ-3 |", "| REQ-4 |", "RFC 9: 4 (MAY) is no demand of it"),
        ("`known`, `known`", "`known`, `unknown`", "RFC 9: 1 (MUST) names `unknown`, which is no test"),
        ("b | `known` |", "b | (pending: a thing) |", "RFC 9: 1 a (MUST) waits: (pending: a thing)"),
        ("b | `known` |", "unmet: no time | `known` |", "RFC 9: 1 a (MUST) is unmet: no time"),
        ("b | `known` |", "not done | `known` |", "RFC 9: 1 a (MUST) is not done"),
        ("b | `known` |", "b | - |", "RFC 9: 1 a (MUST) has no test"),
        ("b | `known` |", "b | known |", "RFC 9: 1 a (MUST) has tests that can't be read: known"),
        ("unmet: it costs too much", "somehow", "RFC 9: 2 (SHOULD) has no test"),
        ("unmet: it costs too much", "not done", "RFC 9: 2 (SHOULD) has no test"),
        ("unmet: it costs too much", "unmet: ", "RFC 9: 2 (SHOULD) is unmet without a reason"),
        ("| MAY | a | not done | - |", "| MAY | a | so | - |", "RFC 9: 3 (MAY) has no test"),
        (
            "| MAY | a | not done | - |",
            "| MAY | not done | - |",
            "RFC 9: a row of 4 cells: | REQ-3 | MAY | not done | - |",
        ),
    ] {
        assert!(RIGHT.contains(from), "{from}");
        let found = violations(&RIGHT.replacen(from, to, 1), &SMALL, |test| test == "known");
        assert!(found.iter().any(|violation| violation == expected), "{expected:?} is not in {found:?}");
    }
}

#[test]
fn tests_are_told_from_what_is_none() {
    for test in [
        "nat::nat44::tests::hairpin_shows_the_external_source_and_can_be_off",
        "nat::nat44::behaviour_tests::promises_hold",
        "nat::deterministic::tests::inverts",
        "packet::ipv4::fragment::tests::fragments_reassemble",
        "neigh::tests::a_life",
        "tests/requirements.rs::tests_are_told_from_what_is_none",
        "demo nat44: TCP hairpin",
    ] {
        assert!(exists(test), "{test}");
    }
    for none in [
        "nat::nat44::tests::bed",
        "nat::nat44::tests::hairpin",
        "nat::nat44::hairpin_shows_the_external_source_and_can_be_off",
        "nat::pool::tests::hairpin_shows_the_external_source_and_can_be_off",
        "hairpin_shows_the_external_source_and_can_be_off",
        "tests/requirements.rs::violations",
        "tests/nothing.rs::tests_are_told_from_what_is_none",
        "demo nat44: TCP hair",
        "demo nothing: TCP hairpin",
        "demo network: TCP hairpin",
    ] {
        assert!(!exists(none), "{none}");
    }
    assert!(
        !has_test("#[test]\n#[ignore]\nfn a() {}\n", "a")
            && !has_test("#[test]\nfn b() {}\nfn a() {}\n", "a")
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}

/// Every file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// What is wrong with the list: a sentence each.
fn violations(list: &str, rfcs: &[Rfc], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for rfc in rfcs {
        let (title, mut seen) = (format!("//! # RFC {}:", rfc.number), BTreeSet::new());
        let table = list.lines().skip_while(|line| !line.starts_with(&title)).skip(1);
        let table = table.take_while(|line| !line.starts_with("//! # "));
        let rows = table.filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with('|'));
        let mut of_this = Vec::new();
        for row in rows.skip(2) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [demand, level, _, how, tests] = cells[..] else {
                of_this.push(format!("a row of {} cells: {row}", cells.len()));
                continue;
            };
            let demand = demand.trim_start_matches("REQ-").trim_start_matches("section ");
            seen.insert((demand.to_owned(), level.to_owned()));
            let wrong = judge(level, how, tests, &exists);
            of_this.extend(wrong.into_iter().map(|what| format!("{demand} ({level}) {what}")));
        }
        let demands = rfc.demands();
        let pairs = |pairs: &BTreeSet<_>, others: &BTreeSet<_>, what: &str| -> Vec<String> {
            pairs
                .difference(others)
                .map(|(demand, level): &(String, String)| format!("{demand} ({level}) {what}"))
                .collect()
        };
        of_this.extend(pairs(&demands, &seen, "has no row"));
        of_this.extend(pairs(&seen, &demands, "is no demand of it"));
        found.extend(of_this.into_iter().map(|what| format!("RFC {}: {what}", rfc.number)));
    }
    found
}

/// What is wrong with a row.
fn judge(level: &str, how: &str, tests: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let (unmet, undone) = (how.strip_prefix("unmet:").map(str::trim), how.starts_with("not done"));
    match unmet {
        Some("") => wrong.push("is unmet without a reason".into()),
        Some(why) if level == "MUST" => wrong.push(format!("is unmet: {why}")),
        None if undone && level == "MUST" => wrong.push("is not done".into()),
        _ => (),
    }
    if tests.starts_with("(pending:") {
        wrong.push(format!("waits: {tests}"));
    } else if tests == "-" {
        let excused = match level {
            "SHOULD" => unmet.is_some(),
            "MAY" => undone,
            _ => false,
        };
        if !excused {
            wrong.push("has no test".into());
        }
    } else {
        for test in tests.split(", ") {
            match test.strip_prefix('`').and_then(|test| test.strip_suffix('`')) {
                None => wrong.push(format!("has tests that can't be read: {test}")),
                Some(test) if !exists(test) => wrong.push(format!("names `{test}`, which is no test")),
                Some(_) => (),
            }
        }
    }
    wrong
}

/// Whether there is such a test: `demo SCENARIO: STEP`, `tests/FILE.rs::NAME`, or a path in the library.
fn exists(test: &str) -> bool {
    if let Some((scenario, step)) = test.strip_prefix("demo ").and_then(|rest| rest.split_once(": ")) {
        let script = read(&root().join("scripts/scenarios").join(format!("{scenario}.sh")));
        return script.is_some_and(|s| s.lines().any(|l| l.trim().starts_with(&format!("step \"{step}\" "))));
    }
    let Some((module, name)) = test.rsplit_once("::") else { return false };
    let source =
        if module.starts_with("tests/") { read(&root().join(module)) } else { module_source(module) };
    source.is_some_and(|source| has_test(&source, name))
}

/// Whether a function of this name is a test that runs.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}(")));
    let is_attribute = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    let attributes: Vec<_> = lines[..at.unwrap_or(0)].iter().rev().take_while(is_attribute).collect();
    attributes.contains(&&"#[test]") && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

/// The source of a module of the library, from its declaration on where that is inline.
fn module_source(path: &str) -> Option<String> {
    let mut directory = root().join("src");
    let (mut file, mut source) = (directory.join("lib.rs"), read(&directory.join("lib.rs"))?);
    for name in path.split("::") {
        let lines: Vec<&str> = source.lines().collect();
        let declares = |line: &&str| {
            let line = line.trim().trim_start_matches("pub ");
            line == format!("mod {name};") || line == format!("mod {name} {{")
        };
        let at = lines.iter().position(declares)?;
        if lines[at].ends_with('{') {
            source = lines[at..].join("\n");
            continue;
        }
        let beside = at.checked_sub(1).and_then(|before| lines[before].trim().strip_prefix("#[path = \""));
        file = match beside.and_then(|rest| rest.strip_suffix("\"]")) {
            Some(beside) => file.parent()?.join(beside),
            None => {
                let [alone, with_children] =
                    [format!("{name}.rs"), format!("{name}/mod.rs")].map(|f| directory.join(f));
                directory = directory.join(name);
                if alone.exists() { alone } else { with_children }
            }
        };
        source = read(&file)?;
    }
    Some(source)
}
