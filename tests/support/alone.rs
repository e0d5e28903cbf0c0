//! A test with the process for itself: the environment (EAL) starts once in one.

use std::process::Command;

/// Runs `test`, which is called `name`, in a process of its own.
pub fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var("CES_ALONE").is_ok_and(|own| own == name) {
        return test();
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["--exact", name, "--nocapture"]).env("CES_ALONE", name).output();
    let output = output.expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
