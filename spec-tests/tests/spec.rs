//! The one test binary: a chapter of the specification per module.

mod lifecycle; // create, start, state, kill, delete: what they do, and what they refuse

use spec_tests::Expected;

#[test]
fn every_expected_failure_names_a_test() {
    let this = std::env::current_exe().expect("the test binary");
    let list = std::process::Command::new(this)
        .arg("--list")
        .output()
        .expect("a list of tests");
    let list = String::from_utf8_lossy(&list.stdout);
    for name in Expected::read().tests() {
        assert!(
            list.lines().any(|l| l == format!("{name}: test")),
            "expected.toml: there is no test {name}"
        );
    }
}
