//! Buildah, which runs a build's steps by the runtime itself.

use crate::shell::{alone, runtime, user};

#[test]
fn the_runtime_is_the_one_that_was_told() {
    alone(|sh| {
        sh.ok("mkdir /tmp/@; buildah from --name @ localhost/bb");
        sh.ok("buildah run -v /tmp/@:/x @ -- sh -c 'touch /x/up; until test -e /x/end; do sleep 0.1; done' >/tmp/@.log 2>&1 &");
        sh.until("cat /tmp/@.log; ls /tmp/@", "up");
        let root = format!("--root /run/{}", runtime());
        sh.is_known(&root, &format!("$({} {root} list -q)", runtime()));
        sh.ok("touch /tmp/@/end");
        sh.until(&format!("{} {root} list -q | wc -l", runtime()), "0");
        let path = sh.ok(&format!("command -v {}", runtime()));
        let build = |path: &str| {
            sh.run(&format!(
                "printf 'FROM localhost/bb\\nRUN true\\n' | buildah build -q --runtime {path} -t @-image -"
            ))
        };
        sh.run(&format!("buildah run --runtime {path} @ -- echo runs")).ends_with(0).prints("runs");
        build(&path).ends_with(0);
        assert_ne!(sh.run("buildah run --runtime /bin/false @ -- true").code, 0);
        assert_ne!(build("/bin/false").code, 0);
        sh.ok("buildah rm @; buildah rmi @-image; rm -r /tmp/@ /tmp/@.log");
    });
}

#[test]
fn run() {
    user(|sh| {
        sh.ok("buildah from --name @ localhost/bb");
        sh.run("buildah run @ -- sh -c 'echo out; id -u; exit 3'").ends_with(3).prints("out\n0");
        sh.run("buildah run --user 1000:2000 --workingdir /tmp --env A=1 @ -- sh -c 'id -u; id -g; pwd; echo $A'")
            .ends_with(0)
            .prints("1000\n2000\n/tmp\n1");
        sh.run("buildah run --cap-drop all @ -- grep CapEff /proc/self/status")
            .prints("CapEff:\t0000000000000000");
        sh.run("buildah run --network none @ -- ls /sys/class/net").prints("lo");
        sh.run("buildah run -v /etc:/x:ro @ -- sh -c 'touch /x/file 2>/dev/null || echo refused'")
            .prints("refused");
        let ran = sh.run("buildah run @ -- nosuch");
        assert_ne!(ran.code, 0);
        ran.complains(&["executable file"]);
        sh.ok("buildah rm @");
    });
}

#[test]
fn with_a_terminal() {
    user(|sh| {
        sh.ok("buildah from --name @ localhost/bb");
        let ran = sh.run("script -qec 'buildah run -t @ -- tty' /dev/null").ends_with(0);
        assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
        sh.ok("buildah rm @");
    });
}

#[test]
fn build() {
    user(|sh| {
        let file = "FROM localhost/bb\nRUN echo built > /file && id -u >> /file\nRUN --network=none ls /sys/class/net >> /file\n\
            USER 1000\nCMD cat /file\n";
        sh.ok(&format!("mkdir /tmp/@; printf '%s' '{file}' > /tmp/@/Containerfile"));
        sh.ok("buildah build -q -t @-image /tmp/@");
        sh.run("podman run --rm @-image").ends_with(0).prints("built\n0\nlo");
        sh.ok("buildah rmi @-image; rm -r /tmp/@");
    });
}

#[test]
fn a_step_that_fails_fails_the_build() {
    user(|sh| {
        sh.ok("mkdir /tmp/@; printf 'FROM localhost/bb\\nRUN exit 7\\n' > /tmp/@/Containerfile");
        let ran = sh.run("buildah build -q /tmp/@");
        assert_ne!(ran.code, 0, "{}", ran.err);
        ran.complains(&["exit status 7"]);
        sh.ok("rm -r /tmp/@");
    });
}
