//! runtime.md: the life of a container, from create to delete.

use spec_tests::*;

#[test]
fn create_makes_a_container_that_waits() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().phrases(["to /tmp/out", "pid", "sleep"]).create();
        assert_eq!(c.status(), "created");
        assert!(
            !c.bundle.path("/tmp/out").exists(),
            "the program must not run before start"
        );
        c.start().ok();
        assert_eq!(c.wait_for_answer("/tmp/out", "pid")["pid"], 1);
        assert_eq!(c.status(), "running");
    });
}
