//! What a person reads when something is wrong: whole lines, as they are. ID stands for the container's id, BUNDLE
//! for the bundle's directory, ROOT for the state's.

use std::fs;

use integration::unharmed;
use serde_json::{Value, json};
use spec_tests::{Bundle, Container, Lab, Ran};

/// The last line that a command says, with words for what differs from run to run.
fn line(ran: &Ran, id: &str, bundle: &str, lab: &Lab) -> String {
    let stderr = ran.stderr();
    let line = stderr.lines().last().unwrap_or_default();
    line.replace(bundle, "BUNDLE").replace(&*lab.root().to_string_lossy(), "ROOT").replace(id, "ID")
}

/// Creates a container of this bundle, which fails with exit status 1 and this line.
#[track_caller]
fn refused(bundle: Bundle, expected: &str) {
    let lab = bundle.lab();
    let dir = bundle.dir().to_string_lossy().into_owned();
    let container = bundle.container();
    let ran = container.create(&[]);
    assert_eq!((line(&ran, &container.id, &dir, lab).as_str(), ran.code()), (expected, 1));
}

/// A command about this container fails with exit status 1 and this line.
#[track_caller]
fn fails(container: &Container, command: &str, expected: &str) {
    let (id, lab) = (&container.id, container.lab());
    let ran = lab.run([command, id]);
    assert_eq!((line(&ran, id, "BUNDLE", lab).as_str(), ran.code()), (expected, 1));
}

#[test]
fn a_wrong_configuration() {
    unharmed("config.json", |lab| {
        let check = |pointer: &str, value: Value, expected: &str| {
            refused(lab.bundle().set(pointer, value), expected);
        };
        let bind = |source: &str| json!({"destination": "/x", "type": "bind", "source": source, "options": ["bind"]});
        check(
            "/process/cwd",
            json!("here"),
            r#"rrunc: create ID: config.json: process.cwd: "here" must be an absolute path"#,
        );
        check(
            "/mounts/0/destination",
            json!(5),
            "rrunc: create ID: config.json: mounts[0].destination: is 5, expected a string",
        );
        check(
            "/mounts/-",
            bind("/srv/nowhere"),
            "rrunc: create ID: mounts[1].source: open /srv/nowhere: openat2: no such file or directory (it must be there before the container is created)",
        );
        check(
            "/process/args",
            json!(["nope"]),
            r#"rrunc: create ID: find process.args[0] "nope" (1 candidate) (step 31 of 34): exec: "nope": executable file not found in $PATH"#,
        );
        check(
            "/process/args",
            json!(["/etc"]),
            r#"rrunc: create ID: find process.args[0] "/etc" (1 candidate) (step 31 of 34): exec: "/etc": is a directory"#,
        );
        check(
            "/linux/namespaces/2/path",
            json!("/etc/passwd"),
            "rrunc: create ID: linux.namespaces[2].path: /etc/passwd is not a namespace (give a file like /proc/PID/ns/net, or a bind mount of one)",
        );
        check(
            "/linux/namespaces/-",
            json!({"type": "user"}),
            "rrunc: create ID: config.json: linux.uidMappings: is missing: a new user namespace needs uidMappings and gidMappings; linux.gidMappings: is missing: a new user namespace needs uidMappings and gidMappings",
        );
        let both = lab
            .bundle()
            .set("/process/cwd", "here")
            .set("/mounts/-", bind("/srv/nowhere"))
            .set("/mounts/-", bind("/srv/neither"))
            .set("/linux/resources", json!({"memory": {"limit": 2_000_000, "swap": 1_000_000}}));
        refused(
            both,
            r#"rrunc: create ID: config.json: process.cwd: "here" must be an absolute path; besides, linux.resources.memory.swap: 1000000: memory+swap limit should be >= memory limit, which is 2000000; mounts[1].source: open /srv/nowhere: openat2: no such file or directory (it must be there before the container is created); mounts[2].source: open /srv/neither: openat2: no such file or directory (it must be there before the container is created)"#,
        );
        let late = lab.bundle().set("/mounts/-", bind("/srv/nowhere")).set("/mounts/-", bind("/srv/neither"));
        refused(
            late,
            "rrunc: create ID: mounts[1].source: open /srv/nowhere: openat2: no such file or directory (it must be there before the container is created); besides, mounts[2].source: open /srv/neither: openat2: no such file or directory (it must be there before the container is created)",
        );
    });
}

#[test]
fn a_script_without_its_interpreter() {
    unharmed("execve(2)", |lab| {
        let script = lab.bundle().file("/bin/script", "#!/no/such/shell\n").mode("/bin/script", 0o755);
        let dir = script.dir().to_string_lossy().into_owned();
        let container = script.args(["/bin/script"]).create();
        let ran = container.start();
        let expected = "rrunc: start ID: execute /bin/script (step 34 of 34): exec /bin/script: no such file or directory \
                        (the file is there, and what it needs to run is not: the program of its #! line, or the loader of \
                        an ELF file)";
        assert_eq!((line(&ran, &container.id, &dir, lab).as_str(), ran.code()), (expected, 1));
    });
}

#[test]
fn no_configuration_at_all() {
    unharmed("config.json", |lab| {
        let bundle = lab.bundle();
        bundle.write();
        let file = bundle.dir().join("config.json");
        let dir = bundle.dir().to_string_lossy().into_owned();
        let ran = lab.run(["create", "--bundle", &dir, "a/b"]);
        assert_eq!(
            line(&ran, "a/b", &dir, lab),
            r#"rrunc: create ID: invalid container ID format "ID": only A-Z a-z 0-9 _ + - . are allowed"#
        );
        let create = |expected: &str| {
            let ran = lab.run(["create", "--bundle", &dir, "web1"]);
            assert_eq!((line(&ran, "web1", &dir, lab).as_str(), ran.code()), (expected, 1));
        };
        fs::write(&file, "{\n  \"ociVersion\": }").unwrap();
        create(
            "rrunc: create ID: config.json: line 2, column 17: expected value, found '}' (a value is text in double quotes, a number, true, false, null, {…} or […])",
        );
        fs::remove_file(&file).unwrap();
        create(
            "rrunc: create ID: JSON specification file config.json not found: open BUNDLE/config.json: openat: no such file or directory (make one with `rrunc spec`, or name the bundle with --bundle)",
        );
        let ran = lab.run(["create", "--bundle", "/nowhere", "web1"]);
        assert_eq!(
            line(&ran, "web1", &dir, lab),
            "rrunc: create ID: open the bundle /nowhere: readlinkat: no such file or directory"
        );
    });
}

#[test]
fn a_command_at_the_wrong_time() {
    unharmed("runtime.md#lifecycle", |lab| {
        let container = lab.bundle().phrases(["sleep"]).create();
        fails(&container, "resume", "rrunc: resume ID: container not paused (it is created)");
        container.start().ok();
        fails(&container, "start", "rrunc: start ID: cannot start an already running container");
        fails(
            &container,
            "delete",
            "rrunc: delete ID: cannot delete container ID that is not stopped: running (rrunc delete --force ID kills it first)",
        );
        lab.run(["pause", &container.id]).ok();
        fails(&container, "pause", "rrunc: pause ID: container not running (it is paused)");
        lab.run(["resume", &container.id]).ok();
        container.kill(&["KILL"]).ok();
        container.wait_for("stopped");
        fails(
            &container,
            "start",
            "rrunc: start ID: cannot start a container that has stopped (delete it and create it anew)",
        );
        fails(&container, "kill", "rrunc: kill ID: container not running");
        fails(&container, "pause", "rrunc: pause ID: container not running (it is stopped)");
        container.delete(&[]).ok();
        fails(&container, "state", "rrunc: state ID: container does not exist: ID");
        fails(&container, "start", "rrunc: start ID: container does not exist: ID");
        fails(&container, "delete", "rrunc: delete ID: container does not exist: ID");
    });
}
