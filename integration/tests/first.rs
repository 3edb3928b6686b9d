//! What a newcomer does first: `make run`, and `rrunc run` with a bundle's directory.

use integration::{rrunc, unharmed};
use spec_tests::fail_or_skip;

#[test]
fn the_default_bundle_tells_what_it_sees() {
    unharmed("README.md", |lab| {
        let bundle = rrunc().with_file_name("bundle");
        if !bundle.is_dir() {
            fail_or_skip("there is no bundle beside rrunc: make bundle");
        }
        let ran = lab.run(["run", "--bundle", &bundle.to_string_lossy(), "look"]).ok();
        let told = ran.stdout();
        let row = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name:?} in\n{told}")).trim()
        };
        assert_eq!(row("process "), "pid 1, one of 1");
        assert_eq!(row("user "), "uid=0 gid=0");
        assert_eq!(row("hostname "), "rrunc");
        assert_eq!(row("network "), "lo");
        assert_eq!(row("cgroup "), "0::/");
        assert_eq!(row("capabilities "), "kill net_bind_service audit_write");
        assert_eq!(row("new privs "), "can't be gained");
        assert_eq!(row("seccomp "), "none asked for");
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
            let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert!(told.contains(&format!("{kind}:[")), "{kind}: {told}");
            assert!(!told.contains(&*host.to_string_lossy()), "{kind} is the host's: {told}");
        }
        assert!(row("mounts ").ends_with(" ro"), "the root is read-only: {told}");
    });
}

#[test]
fn a_bundle_is_named_by_its_directory() {
    unharmed("rrunc run BUNDLE_DIR", |lab| {
        let web = lab.bundle().phrases(["print the bundle"]);
        web.write();
        let dir = web.dir().to_string_lossy().into_owned();
        let says = |ran: spec_tests::Ran, text: &str| assert!(ran.ok().stdout().contains(text), "{text}");
        says(lab.run(["run", &dir]), "the bundle");
        let name = web.dir().file_name().unwrap().to_string_lossy().into_owned();
        let above = web.dir().parent().unwrap();
        says(lab.command(["run", &name]).cwd(above).run(), "the bundle");
        lab.run(["run", "--detach", &dir]).ok();
        assert_eq!(lab.state(&name)["bundle"], *dir);
        lab.run(["delete", "--force", &name]).ok();

        // A bundle that is named, or that one is in, goes before one that the id happens to name.
        let other = lab.bundle().phrases(["print the other"]);
        other.write();
        let from_other = lab.command(["run", &dir]).cwd(other.dir()).run();
        from_other.fails_saying(&["invalid container ID format"]);
        let from_other = lab.command(["run", &name]).cwd(other.dir()).run();
        says(from_other, "the other");
        let named = ["run", "--bundle", &other.dir().to_string_lossy(), &name];
        says(lab.command(named).cwd(above).run(), "the other");
    });
}
