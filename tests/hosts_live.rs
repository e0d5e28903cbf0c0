//! The host register of a running process: shown, changed and imported by `cesctl`, kept over restarts and kills; and what a
//! million hosts take.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/running.rs"]
mod running;

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bed::Bed;
use nix::sys::signal::Signal;
use running::{Running, show};
use serde_json::{Value, json};

/// Two realms with the same prefix, and a host of the configuration.
fn config(hosts: &str) -> String {
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = [0]\nidle = \"sleep\"\n\
         [[port]]\nname = \"in\"\ndevice = \"net_null0,no-rx=1\"\n[[port]]\nname = \"in2\"\ndevice = \"net_null1,no-rx=1\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"office\"\nside = \"inside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/8\"]\n\
         [[interface]]\nport = \"in2\"\nrealm = \"office\"\naddresses = [\"10.0.0.1/8\"]\n\
         [flow]\nsessions = 1024\n{hosts}"
    )
}

fn with_store(bed: &Bed) -> String {
    let store = bed.directory.join("hosts");
    config(&format!(
        "[hosts]\ncapacity = 200000\nstore = \"{}\"\n\
         [[host]]\nname = \"fixed.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.2\"]\n",
        store.display()
    ))
}

/// What `cesctl` answers, or why it was refused.
fn ask(bed: &Bed, what: &str) -> Result<Value, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cesctl"));
    command.arg("--runtime-dir").arg(&bed.directory).args(what.split(' ')).arg("--json");
    let output = command.current_dir(&bed.directory).output().expect("cesctl is there");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn total(bed: &Bed) -> u64 {
    show(bed, &["hosts", "--limit", "0"])["total"].as_u64().expect("a number")
}

/// A file of so many hosts, and `more` behind them.
fn file(bed: &Bed, count: u32, more: &str) {
    let mut text = String::new();
    for n in 0..count {
        let [_, a, b, c] = (0x10_0000 + n).to_be_bytes();
        let _ = writeln!(
            text,
            r#"{{"name":"h{n}.ces.example","realm":"home","addresses":["10.{a}.{b}.{c}"],"group":"homes","services":[{{"name":"w{n}.ces.example","protocol":"tcp","port":443}}]}}"#
        );
    }
    std::fs::write(bed.directory.join("hosts.jsonl"), text + more).expect("the file is written");
}

fn end(running: Running) {
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn hosts_come_and_go_by_cesctl_and_outlive_the_process() {
    let bed = Bed::new();
    bed.configure(&with_store(&bed));
    let running = Running::start(&bed);
    let added = ask(
        &bed,
        "host add A.ces.example --realm home --address 10.0.0.3,fd00::3 --group staff \
         --service www.ces.example=tcp/443 --service any.ces.example=any/any --pending-reservations 4",
    );
    let host = json!({
        "origin": "runtime", "name": "a.ces.example", "realm": "home", "addresses": ["10.0.0.3", "fd00::3"],
        "group": "staff", "pending_reservations": 4, "reservations_per_second": 50,
        "services": [{"name": "www.ces.example", "protocol": "tcp", "port": "443"},
                     {"name": "any.ces.example", "protocol": "any", "port": "any"}],
    });
    assert_eq!(added, Ok(json!({"added": {"host": host, "kept": true}})));
    ask(&bed, "host add b.ces.example --realm office --address 10.0.0.3").expect("another realm");
    ask(&bed, "host add c.ces.example --realm home").expect("without an address");
    refusals(&bed);
    shown(&bed, &host);

    assert!(ask(&bed, "host remove C.ces.example").expect("removed")["removed"]["kept"] == true);
    let replaced = ask(&bed, "host add b.ces.example --realm office --address 10.0.0.4 --replace");
    assert_eq!(replaced.expect("replaced")["replaced"]["host"]["addresses"], json!(["10.0.0.4"]));
    end(running);
    let running = Running::start(&bed);
    assert_eq!(total(&bed), 3);
    assert_eq!(show(&bed, &["hosts", "www.ces.example"])["hosts"], json!([host]));
    assert_eq!(
        ask(&bed, "host show --address 10.0.0.4").expect("shown")["hosts"][0]["name"],
        "b.ces.example"
    );
    end(running);

    // What came is in the way of nobody's configuration, and without a store nothing is kept.
    let clash = "[[host]]\nname = \"new.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.3\"]\n";
    bed.configure(&(with_store(&bed) + clash));
    let running = Running::start(&bed);
    assert_eq!(total(&bed), 3);
    assert!(ask(&bed, "host show a.ces.example").expect_err("left out").contains("no host is named"));
    end(running);
    let log = std::fs::read_to_string(bed.directory.join("log")).expect("a log");
    assert!(
        log.contains("a.ces.example") && log.contains("new.ces.example") && log.contains("left out"),
        "{log}"
    );
    bed.configure(&config("[hosts]\n"));
    let running = Running::start(&bed);
    assert!(ask(&bed, "host add a.ces.example --realm home").expect("added")["added"]["kept"] == false);
    end(running);
    bed.configure(&config(""));
    let _running = Running::start(&bed);
    for what in ["host show", "host remove a.ces.example", "show import"] {
        let refused = ask(&bed, what).expect_err("no register");
        assert!(refused.contains("there is no host register") && refused.contains("[hosts]"), "{refused}");
    }
}

fn refusals(bed: &Bed) {
    for (what, message, hint) in [
        ("host add a.ces.example --realm home", "is a name of host \"a.ces.example\"", "may be replaced"),
        ("host add www.ces.example --realm home", "is a name of host \"a.ces.example\"", "another name"),
        (
            "host add d.ces.example --realm home --address 10.0.0.3",
            "is an address of host",
            "another address",
        ),
        ("host add d.ces.example --realm home --address 10.0.0.2", "of the configuration", "goes before"),
        ("host add fixed.ces.example --realm home --replace", "not changed at run time", "[[host]]"),
        ("host add d.ces.example --realm homes", "no realm is named", "did you mean \"home\""),
        ("host add d --realm home", "name: \"d\" has only one label", "full name"),
        (
            "host add d.ces.example --realm home --address 10.0.0.1",
            "the edge's own address",
            "host's address",
        ),
        ("host add d.ces.example --realm home --service x.ces.example=tpc/1", "is no protocol", "\"tcp\""),
        ("host remove fixed.ces.example", "not changed at run time", "start cesd again"),
        ("host remove d.ces.example", "no host is named \"d.ces.example\"", "host show"),
        ("host import nowhere", "cannot find nowhere", "name a file"),
    ] {
        let refused = ask(bed, what).expect_err(what);
        assert!(refused.contains(message) && refused.contains(hint), "{what}: {refused}");
    }
    assert_eq!(total(bed), 4);
}

fn shown(bed: &Bed, host: &Value) {
    let names = |what: &str| -> Vec<String> {
        let list = ask(bed, what).expect("an answer");
        let name =
            |host: &Value| host["name"].as_str().expect("a name").trim_end_matches(".ces.example").into();
        list["hosts"].as_array().expect("hosts").iter().map(name).collect()
    };
    assert_eq!(names("show hosts"), ["fixed", "a", "b", "c"]);
    assert_eq!(names("host show --realm home"), ["fixed", "a", "c"]);
    assert_eq!(names("host show --address 10.0.0.3"), ["a", "b"]);
    assert_eq!(names("host show --address 10.0.0.3 --realm office"), ["b"]);
    assert_eq!(names("host show --group staff"), ["a"]);
    assert_eq!(names("host show tcp22.c.ces.example"), ["c"]);
    assert_eq!(show(bed, &["hosts", "any.ces.example"])["hosts"], json!([host]));
    let page = ask(bed, "host show --limit 3").expect("a page");
    assert_eq!(
        (&page["total_matched"], &page["truncated"], &page["next"]),
        (&json!(4), &json!(true), &json!(3))
    );
    let page = ask(bed, "host show --limit 3 --from 3").expect("the next");
    assert_eq!(
        (&page["total_matched"], &page["next"], &page["hosts"][0]["name"]),
        (&json!(1), &Value::Null, &json!("c.ces.example"))
    );
}

#[test]
fn an_import_is_whole_or_nothing_even_when_the_process_is_killed() {
    let bed = Bed::new();
    bed.configure(&with_store(&bed));
    let running = Running::start(&bed);
    file(&bed, 3000, "{\"name\":\"x.ces.example\",\"realm\":\"home\",\"addresses\":[\"10.0.0.2\"]}\n");
    let refused = ask(&bed, "host import hosts.jsonl").expect_err("the last line is bad");
    assert!(refused.contains("hosts.jsonl:3001: addresses: 10.0.0.2 is an address of host"), "{refused}");
    assert!(refused.contains("hint: ") && refused.contains("nothing is imported"), "{refused}");
    assert_eq!(total(&bed), 1);
    assert_eq!(show(&bed, &["import"])["state"], "refused");
    file(&bed, 3000, "");
    let done = ask(&bed, "host import hosts.jsonl").expect("imported");
    assert_eq!(
        (&done["state"], &done["hosts"], &done["lines"]),
        (&json!("done"), &json!(3000), &json!(3000))
    );
    assert_eq!(total(&bed), 3001);
    drop(running); // SIGKILL

    // Killed in the middle of an import, at several moments: all of it or nothing, and what was there before.
    file(&bed, 120_000, "");
    let mut was_nothing = 0;
    for pause in [5, 40, 150, 400, 800] {
        let running = Running::start(&bed);
        assert_eq!(total(&bed), 3001, "{pause} ms");
        let mut import = Command::new(env!("CARGO_BIN_EXE_cesctl"));
        import.arg("--runtime-dir").arg(&bed.directory).args(["host", "import", "--replace", "hosts.jsonl"]);
        import.current_dir(&bed.directory).stdout(Stdio::null()).stderr(Stdio::null());
        let mut import = import.spawn().expect("cesctl is there");
        std::thread::sleep(Duration::from_millis(pause));
        let phase = show(&bed, &["import"])["state"].clone();
        let refused = ask(&bed, "host add late.ces.example --realm home");
        if phase == "reading" && show(&bed, &["import"])["state"] == "reading" {
            assert!(refused.expect_err("busy").contains("an import is under way"));
        }
        drop(running);
        let _ = import.wait();
        let running = Running::start(&bed);
        match total(&bed) {
            3001 => was_nothing += 1,
            120_001 | 120_002 => {
                end(running);
                break;
            }
            other => panic!("half an import: {other} hosts after {pause} ms"),
        }
        drop(running);
    }
    assert!(was_nothing > 0, "no kill came in the middle");
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let bed = Bed::new();
    bed.configure(&with_store(&bed));
    for round in 1..=3 {
        let running = Running::start(&bed);
        for n in 0..5 {
            ask(&bed, &format!("host add r{round}-{n}.ces.example --realm home")).expect("added");
        }
        drop(running);
        let running = Running::start(&bed);
        assert_eq!(total(&bed), 1 + 5 * round);
        drop(running);
    }
}

/// Bytes of the process in memory.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure of every process");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn a_million_hosts_take_at_most_512_bytes_each() {
    const HOSTS: u32 = 1_000_000;
    let bed = Bed::new();
    let store = bed.directory.join("hosts");
    let measure = |hosts: &str| {
        bed.configure(&config(hosts));
        let running = Running::start(&bed);
        (resident(running.child.id()), running)
    };
    let (without, running) = measure("[hosts]\ncapacity = 1\n");
    end(running);
    let million = format!("[hosts]\ncapacity = {HOSTS}\nstore = \"{}\"\n", store.display());
    let (_, running) = measure(&million);
    file(&bed, HOSTS, "");
    let start = Instant::now();
    ask(&bed, "host import hosts.jsonl").expect("imported");
    let (imported, took) = (resident(running.child.id()), start.elapsed());
    assert_eq!(total(&bed), u64::from(HOSTS));
    end(running);
    let start = Instant::now();
    let (loaded, _running) = measure(&million);
    let each = |with: u64| with.saturating_sub(without) as f64 / f64::from(HOSTS);
    println!(
        "a host {:.1} bytes after an import ({took:?}), {:.1} after a start ({:?})",
        each(imported),
        each(loaded),
        start.elapsed()
    );
    assert_eq!(total(&bed), u64::from(HOSTS));
    // Its record alone has some 60 bytes.
    assert!(each(loaded) > 60.0 && each(loaded) <= 512.0, "{:.1} bytes after a start", each(loaded));
    assert!(each(imported) <= 512.0, "{:.1} bytes after an import", each(imported));
}

#[test]
fn the_rules_of_users_are_changed_shown_and_explained() {
    let bed = Bed::new();
    let rule = "[[policy.operator]]\nname = \"return-routable\"\nrequired_as_ices = [\"cookie\"]\n";
    bed.configure(&(with_store(&bed) + rule));
    let running = Running::start(&bed);
    ask(&bed, "host add tv.ces.example --realm home --group family").expect("added");
    ask(&bed, "host add pc.ces.example --realm home --group family").expect("added");
    let added =
        ask(&bed, "policy add TV.ces.example own-devices .home.example service=tcp/443").expect("added");
    let own = "own-devices .home.example service=tcp/443";
    assert_eq!(added, json!({"host": "tv.ces.example", "rules": [own], "kept": true}));
    let block = ask(&bed, "policy add tv.ces.example block .spam.example --at 1").expect("added");
    assert_eq!(block["rules"], json!(["block .spam.example", own]));
    for (what, message, hint) in [
        ("policy add tv.ces.example blok a.example", "rule: \"blok\" is no rule", "did you mean \"block\"?"),
        ("policy add no.ces.example nobody", "no host is named", "cesctl host show"),
        ("policy add tv.ces.example allow a.example service=tcp/443 --at 3", "leaves nothing", "--at N"),
        ("policy remove tv.ces.example 3", "no rule 3", "cesctl policy show HOST"),
        ("policy explain no.ces.example unknown any", "no host is named", "cesctl host show"),
        ("policy explain tv.ces.example unknown tcp/x", "service:", "FIRST-LAST"),
    ] {
        let refused = ask(&bed, what).expect_err(what);
        assert!(refused.contains(message) && refused.contains(hint), "{what}: {refused}");
    }
    let explain = |what: &str| {
        let answer = ask(&bed, &format!("policy explain tv.ces.example {what}")).expect(what);
        let lines = answer["lines"].as_array().expect("lines").iter();
        lines.map(|line| line.as_str().expect("text").to_owned() + "\n").collect::<String>()
    };
    let of_the_group = explain("pc.ces.example tcp/443");
    let told = ["operator  return-routable: asks cookie", "host      user-2: asks domain, naming-check"];
    assert!(told.iter().all(|line| of_the_group.contains(line)), "{of_the_group}");
    assert!(explain("pc.far.example tcp/443").contains("refused by rule user-2 of level host"));
    assert!(explain("x.spam.example any --edge ces.far.example").contains("refused by rule user-1"));
    assert!(explain("unknown udp/53").starts_with("reputation 45, of somebody unknown\n"));
    assert!(explain("pc.far.example any --reputation 20").starts_with("reputation 20, as asked\n"));
    assert!(explain("unknown udp/53").contains("user-1: open until the peer has told domain, naming-check"));
    assert!(explain("pc.far.example udp/53 --direction outbound").contains("udp/53 outbound:"));
    ask(&bed, "policy remove tv.ces.example 1").expect("removed");
    end(running);

    let running = Running::start(&bed);
    let list = json!({"total": 1, "hosts": [{"host": "tv.ces.example", "rules": [own]}]});
    assert_eq!(ask(&bed, "policy show"), Ok(list.clone()));
    assert_eq!(ask(&bed, "policy show tv.ces.example"), Ok(list));
    assert_eq!(ask(&bed, "policy show pc.ces.example").expect("none")["hosts"][0]["rules"], json!([]));
    end(running);
}
