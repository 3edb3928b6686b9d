//! Many containers, one after the other and at the same time: all succeed, and nothing is left of any.

use std::process::{Command, Stdio};

use integration::{rrunc, unharmed};
use spec_tests::Lab;

/// `rrunc run` of a program that ends at once, as a process that can be waited for.
fn run(lab: &Lab, bundle: &str, id: &str) -> std::process::Child {
    let mut command = Command::new(rrunc());
    command.arg("--root").arg(lab.root()).args(["run", "--bundle", bundle, id]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("rrunc")
}

fn bundle(lab: &Lab) -> String {
    let bundle = lab.bundle().args(["true"]);
    bundle.write();
    bundle.dir().to_string_lossy().into_owned()
}

#[test]
fn a_thousand_one_after_the_other() {
    unharmed("runtime.md#lifecycle", |lab| {
        let bundle = bundle(lab);
        for n in 0..1000 {
            let status = run(lab, &bundle, &format!("{}-{n}", lab.tag())).wait().expect("wait");
            assert!(status.success(), "container {n}: {status}");
        }
    });
}

#[test]
fn two_hundred_in_batches_of_twenty() {
    unharmed("runtime.md#lifecycle", |lab| {
        let bundle = bundle(lab);
        for batch in 0..10 {
            let batch = (0..20).map(|n| run(lab, &bundle, &format!("{}-{batch}-{n}", lab.tag())));
            for mut child in batch.collect::<Vec<_>>() {
                let status = child.wait().expect("wait");
                assert!(status.success(), "{status}");
            }
        }
    });
}
