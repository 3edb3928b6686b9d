//! What `make deb`'s package puts on a machine, and takes away again. That engines find it all there, their own tests
//! show.

use crate::shell::alone;

/// All of it, where the world's own configuration leaves out what nobody reads there.
const INSTALL: &str = concat!(
    "dpkg --path-include='/usr/share/*' --install ",
    env!("CARGO_MANIFEST_DIR"),
    "/../build/rrunc_*.deb"
);

const FILES: &[&str] = &[
    "/usr/bin/rrunc",
    "/usr/bin/containerd-shim-rrunc-v2",
    "/usr/share/bash-completion/completions/rrunc",
    "/usr/share/zsh/vendor-completions/_rrunc",
    "/usr/share/fish/vendor_completions.d/rrunc.fish",
    "/usr/share/doc/rrunc/copyright",
    "/usr/share/doc/rrunc/CHANGELOG.md.gz",
    "/usr/share/doc/rrunc/examples/containers.conf",
    "/usr/share/doc/rrunc/examples/daemon.json",
    "/usr/share/doc/rrunc/examples/containerd.toml",
    "/usr/share/doc/rrunc/examples/runtimeclass.yaml",
    "/usr/share/man/man8/rrunc.8.gz",
];

#[test]
fn from_installation_to_purge() {
    alone(|sh| {
        sh.ok(INSTALL);
        sh.run("dpkg --verify rrunc").ends_with(0).prints("");
        let files = sh.ok("dpkg -L rrunc | while read -r file; do test -d $file || echo $file; done");
        let files: Vec<&str> = files.lines().collect();
        for file in FILES {
            assert!(files.contains(file), "{file} is missing: {files:?}");
        }
        sh.run("stat -c %a:%U:%G /usr/bin/rrunc /usr/bin/containerd-shim-rrunc-v2")
            .prints("755:root:root\n755:root:root");

        // Every command has its page, and the shell's completion knows it.
        let commands = sh.ok("rrunc --help | sed -n '/^Commands:/,/^$/s/^  \\([a-z]*\\) .*/\\1/p'");
        assert!(commands.lines().count() > 20, "{commands}");
        for command in commands.lines() {
            let page = format!("/usr/share/man/man8/rrunc-{command}.8.gz");
            assert!(files.contains(&page.as_str()), "{page} is missing");
            sh.run(&format!("zcat {page} | grep -ic '^\\.TH rrunc-{command} 8'")).prints("1");
        }
        let complete = "COMP_WORDS=(rrunc '') COMP_CWORD=1; _rrunc rrunc '' rrunc; echo \"${COMPREPLY[*]}\"";
        let known = sh.ok(&format!(
            "bash -c '. /usr/share/bash-completion/completions/rrunc; {}'",
            complete.replace('\'', "'\\''")
        ));
        for command in commands.lines() {
            assert!(known.split(' ').any(|word| word == command), "{command}: {known}");
        }

        sh.ok("dpkg --purge rrunc");
        let left: Vec<_> = files.iter().filter(|file| std::path::Path::new(file).exists()).collect();
        assert!(left.is_empty(), "left: {left:?}");
        assert_ne!(sh.run("dpkg --status rrunc").code, 0);
    });
}
