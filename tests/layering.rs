//! Holds the house plan: which room may use which, where `unsafe` may stand, and that every file says what it is.
//!
//! Guarantees: reads every `src/**/*.rs`, with comments and literals taken out, and follows `crate::…`, `ces::…`,
//! `self::…` and `super::…` paths, nested `use` groups included, to the room that they name.
//! Never: expands macros, or sees a path that is reached only through a type.

use std::fs;
use std::path::{Path, PathBuf};

/// A room and what it may use: a room, or one item of a room.
type Row = (&'static str, &'static [&'static str]);

/// Who may use whom. `lib` only declares the rooms.
const MAY_USE: &[Row] = &[
    ("packet", &[]),
    ("config", &[]),
    ("dpdk", &[]),
    ("flow", &["packet"]),
    ("route", &["packet", "flow"]),
    ("neigh", &["packet", "flow"]),
    ("nat", &["packet", "flow"]),
    ("firewall", &["packet", "flow"]),
    ("alg", &["packet", "flow"]),
    ("ring", &["dpdk", "packet", "flow"]),
    ("dataplane", &["dpdk", "packet", "flow", "route", "neigh", "nat", "firewall", "alg", "ring"]),
    ("edge", &["packet", "ring", "config", "flow"]),
    // It reads the register of hosts, which is lent to it, has its owner change it, asks the pools, and has hosts called.
    (
        "dns",
        &[
            "packet",
            "ring",
            "config",
            "flow",
            "edge::hosts",
            "edge::thread",
            "edge::prgw",
            "edge::proxies",
            "edge::calls",
            "edge::identity::naming",
        ],
    ),
    ("doctor", &["config"]),
    ("exception", &["packet", "ring"]),
    ("manage", &["packet::DropReason", "packet::DROP_REASONS"]),
    ("appliance", EVERYTHING),
    ("bin", EVERYTHING),
    ("lib", &[]),
];
const EVERYTHING: &[&str] = &[
    "alg",
    "appliance",
    "config",
    "dataplane",
    "dns",
    "doctor",
    "dpdk",
    "edge",
    "firewall",
    "exception",
    "flow",
    "manage",
    "nat",
    "neigh",
    "packet",
    "ring",
    "route",
];
/// The generated bindings stay in their room, whoever may use the rest of it.
const BINDINGS: &[&str] = &["dpdk", "ffi"];
const UNSAFE_ROOMS: &[&str] = &["dpdk", "flow"];
const LONGEST_FILE: usize = 600;

#[test]
fn the_rooms_keep_to_their_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "only {} files found under {}", files.len(), root.display());
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(&root).expect("collected below it").to_string_lossy().into_owned();
            violations(&name, &fs::read_to_string(path).expect("a UTF-8 source file"))
        })
        .collect();
    assert!(found.is_empty(), "against the house plan:\n{}", found.join("\n"));
}

#[test]
fn every_kind_of_violation_is_seen() {
    for (name, source, expected) in [
        ("nat/pool.rs", "//! x\nuse crate::dataplane::Worker;", "nat may not use dataplane::Worker"),
        ("nat/pool.rs", "//! x\nuse crate::{packet::Tcp, dpdk::{Mbuf, Port}};", "nat may not use dpdk::Mbuf"),
        ("nat/pool.rs", "//! x\nuse super::super::edge;", "nat may not use edge"),
        ("nat/mod.rs", "//! x\nmod tests { mod deep { use super::super::super::dpdk::Eal; } }", "dpdk::Eal"),
        ("nat/mod.rs", "//! x\nfn f() { crate::ring::send() }", "nat may not use ring::send"),
        ("packet/mod.rs", "//! x\nuse crate::flow;", "packet may not use flow"),
        ("manage/mod.rs", "//! x\nuse crate::packet::Tcp;", "manage may not use packet::Tcp"),
        ("dataplane/mod.rs", "//! x\nuse crate::dpdk::ffi::rte_mbuf;", "the bindings"),
        ("bin/cesd.rs", "//! x\nuse ces::dpdk::ffi;", "the bindings"),
        ("bin/cesd.rs", "//! x\nuse ces::cellar::Wine;", "bin may not use cellar::Wine"),
        ("exception/tap.rs", "//! x\nuse crate::dpdk::Mbuf;", "exception may not use dpdk::Mbuf"),
        ("cellar/mod.rs", "//! x\n", "is in no room of the plan"),
        ("nat/mod.rs", "//! x\nfn f() { unsafe { g() } }", "unsafe"),
        ("nat/mod.rs", "use crate::packet::Tcp;", "does not open with `//!`"),
        ("nat/mod.rs", &format!("//! x\n{}", "\n".repeat(LONGEST_FILE)), "601 lines"),
    ] {
        let found = violations(name, source);
        assert_eq!(found.len(), 1 + usize::from(source.contains("Port}")), "{name}: {source}: {found:?}");
        assert!(found[0].contains(expected), "{expected:?} is not in {:?}", found[0]);
    }
}

#[test]
fn what_the_plan_allows_is_not_flagged() {
    for (name, source) in [
        ("nat/pool.rs", "//! x\nuse crate::{flow::{self, Key}, packet as p};\nuse super::Mapping;"),
        ("nat/mod.rs", "//! x\nmod tests { use super::*; }\nuse self::pool::Block;\nuse crate::nat::pool;"),
        (
            "nat/mod.rs",
            "//! x\n// unsafe crate::edge\n/* crate::edge /* nested */ unsafe */ const A: u8 = b'{';",
        ),
        (
            "nat/mod.rs",
            "//! x\nconst S: &str = \"unsafe \\\" crate::edge\"; const R: &str = r#\"crate::\"edge\"#;",
        ),
        (
            "nat/mod.rs",
            "//! x\nfn f<'a>(c: &'a char) -> bool { *c == '\"' || *c == '\\'' }\nuse crate::flow::Key;",
        ),
        ("nat/mod.rs", "//! x\npub(in crate::nat) fn f() {}\nmacro_rules! m { () => { $crate::nat::f() } }"),
        ("nat/pool_tests.rs", "//! x\nuse super::super::mapping::NONE;"),
        ("manage/mod.rs", "//! x\nuse crate::packet::DropReason;"),
        ("dpdk/eal.rs", "//! x\nuse super::ffi;\nfn f() { unsafe { ffi::rte_eal_cleanup() } }"),
        ("flow/index.rs", "//! x\nunsafe impl Sync for Index {}"),
        ("lib.rs", "//! x\npub mod nat;"),
    ] {
        assert_eq!(violations(name, source), Vec::<String>::new(), "{name}: {source}");
    }
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable source directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// What the file `name`, relative to `src`, does against the plan: a sentence each.
fn violations(name: &str, source: &str) -> Vec<String> {
    let module = module_of(name);
    let room = module[0].as_str();
    let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| *known == room) else {
        return vec![format!("src/{name} is in no room of the plan: give it a row in MAY_USE")];
    };
    let mut found = Vec::new();
    if !source.starts_with("//!") {
        found.push(format!("src/{name} does not open with `//!`: say what the module is for"));
    }
    let lines = source.lines().count();
    if lines > LONGEST_FILE {
        found.push(format!("src/{name} has {lines} lines, more than {LONGEST_FILE}: it asks for a room"));
    }
    let tokens = tokens(&without_comments_and_literals(source));
    if tokens.iter().any(|token| token == "unsafe") && !UNSAFE_ROOMS.contains(&room) {
        found.push(format!("src/{name} says `unsafe`, which belongs into {UNSAFE_ROOMS:?} only"));
    }
    for used in used_paths(&tokens, &module) {
        let path = used.join("::");
        if used[0] == room {
            continue;
        }
        if used.iter().map(String::as_str).take(2).eq(BINDINGS.iter().copied()) {
            found.push(format!("src/{name}: {room} uses the bindings, {path}: only dpdk may"));
        } else if !allowed.iter().any(|item| path == *item || path.starts_with(&format!("{item}::"))) {
            found.push(format!("src/{name}: {room} may not use {path}"));
        }
    }
    found
}

/// The module path of a file relative to `src`; a program is a crate of its own, so its path is `bin`. The tests and
/// models of `x.rs` may stand beside it, by `#[path]`: `x_tests.rs` is `x::tests`, `x_loom.rs` is `x::loom`.
fn module_of(name: &str) -> Vec<String> {
    let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module[0] == "bin" {
        module.truncate(1);
    } else if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    } else if let Some((of, kind @ ("tests" | "loom"))) = name.trim_end_matches(".rs").rsplit_once('_') {
        module.pop();
        module.extend([of.rsplit('/').next().unwrap_or(of).to_owned(), kind.to_owned()]);
    }
    module
}

/// The source with comments, strings and character literals blanked out.
fn without_comments_and_literals(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut kept = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            kept.push(b' ');
            at = end;
        } else {
            kept.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |from: usize, what: &[u8]| {
        rest[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map_or(rest.len(), |p| from + p + what.len())
    };
    let inside_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let length = match rest {
        [b'/', b'/', ..] => find(0, b"\n"),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest),
        [b'r', b'"' | b'#', ..] if !inside_word || bytes[at - 1] == b'b' || bytes[at - 1] == b'c' => {
            let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
            let closing: Vec<u8> = [b"\"", &b"#".repeat(hashes)[..]].concat();
            if rest.get(1 + hashes) == Some(&b'"') { find(2 + hashes, &closing) } else { 0 }
        }
        [b'\'', b'\\', ..] => find(3, b"'"),
        [b'\'', ..] => char_literal(rest),
        _ => 0,
    };
    at + length
}

/// The length of a block comment, nested ones included.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a quoted string with escapes.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += 1 + usize::from(rest[at] == b'\\');
    }
    (at + 1).min(rest.len())
}

/// The length of `'c'`, a character of one to four bytes; 0 for a lifetime.
fn char_literal(rest: &[u8]) -> usize {
    let width = rest.get(1).map_or(0, |first| first.leading_ones().max(1) as usize);
    if rest.get(1 + width) == Some(&b'\'') { 2 + width } else { 0 }
}

/// Words, `::`, and every other character that is not white space.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut word_open = false;
    let mut previous = ' ';
    for character in source.chars() {
        let in_word = character.is_alphanumeric() || character == '_';
        match tokens.last_mut() {
            Some(last) if in_word && word_open => last.push(character),
            Some(last) if character == ':' && previous == ':' && last == ":" => last.push(':'),
            _ if character.is_whitespace() => {}
            _ => tokens.push(character.to_string()),
        }
        word_open = in_word;
        previous = character;
    }
    tokens
}

/// Every path of ours that the tokens name, from the crate's root: `["packet", "Tcp"]`.
fn used_paths(tokens: &[String], file: &[String]) -> Vec<Vec<String>> {
    let mut used = Vec::new();
    let mut module = file.to_vec();
    let mut braces: Vec<bool> = Vec::new(); // for each open one: does it open a module
    let mut at = 0;
    while at < tokens.len() {
        let follows_path = at > 0 && tokens[at - 1] == "::";
        match tokens[at].as_str() {
            "{" => {
                let opens_module = at >= 2 && tokens[at - 2] == "mod";
                if opens_module {
                    module.push(tokens[at - 1].clone());
                }
                braces.push(opens_module);
            }
            "}" if braces.pop() == Some(true) => {
                module.pop();
            }
            "crate" | "ces" | "super" | "self" if !follows_path && is(tokens, at + 1, "::") => {
                let mut found = Vec::new();
                at = path(tokens, at, &module, &mut found);
                used.extend(found.into_iter().filter(|path| !path.is_empty()));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    used
}

fn is(tokens: &[String], at: usize, what: &str) -> bool {
    tokens.get(at).is_some_and(|token| token == what)
}

/// Reads the path or use tree at `at`, below `base`, into `found`; returns the place after it.
fn path(tokens: &[String], mut at: usize, base: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut here = base.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "crate" | "ces" => here.clear(),
            "super" => drop(here.pop()),
            "self" | "*" => {}
            "{" => {
                at += 1;
                while at < tokens.len() && !is(tokens, at, "}") {
                    at = path(tokens, at, &here, found);
                    while at < tokens.len() && !is(tokens, at, ",") && !is(tokens, at, "}") {
                        at += 1; // `as NAME`
                    }
                    at += usize::from(is(tokens, at, ","));
                }
                return at + 1;
            }
            word if word.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                here.push(word.to_owned())
            }
            _ => break,
        }
        at += 1;
        if !is(tokens, at, "::") {
            break;
        }
        at += 1;
    }
    found.push(here);
    at
}
