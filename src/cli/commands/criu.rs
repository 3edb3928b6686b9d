//! `checkpoint` and `restore`.

use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::Row;
use super::lifecycle::{console_socket, pid_file};
use crate::cli::arg::{ask, bundle, id, no_pivot, one_of, option, path, switch, take};
use crate::cli::criu::{CgroupsMode, EmptyNamespace, Images, NetworkLock, PageServer};
use crate::cli::{Checkpoint, Command, Restore};

pub const CHECKPOINT: Row = Row {
    name: "checkpoint",
    about: "Save a running container to files, by criu(8), and delete it",
    args: || {
        let own = vec![
            path("parent-path", None, "DIR", "An earlier --pre-dump, relative to --image-path"),
            switch("leave-running", None, "Let the container go on"),
            switch(
                "pre-dump",
                None,
                "Save memory alone, for a later checkpoint with --parent-path; the container goes on",
            ),
            switch("tcp-skip-in-flight", None, "Leave out TCP connections that nobody has accepted yet"),
            switch("link-remap", None, "Save files that were deleted while they are open"),
            option(
                "status-fd",
                None,
                "FD",
                "With --lazy-pages: an open file that gets a zero byte once pages can be asked for",
            )
            .value_parser(value_parser!(i32)),
            option(
                "page-server",
                None,
                "ADDRESS:PORT",
                "Who takes the pages of memory, or with --lazy-pages: where they can be asked for",
            )
            .value_parser(PageServer::from_str),
            id(),
        ];
        [image_options(), own].concat()
    },
    ends_flags: false,
    enters: true,
    read: |m| {
        ask(Command::Checkpoint(Box::new(Checkpoint {
            id: take(m, "id"),
            images: read_images(m),
            parent_path: m.remove_one("parent-path"),
            leave_running: take(m, "leave-running"),
            pre_dump: take(m, "pre-dump"),
            tcp_skip_in_flight: take(m, "tcp-skip-in-flight"),
            link_remap: take(m, "link-remap"),
            // A negative one is none, as with runc.
            status_fd: m.remove_one("status-fd").filter(|fd| *fd >= 0),
            page_server: m.remove_one("page-server"),
        })))
    },
};

pub const RESTORE: Row = Row {
    name: "restore",
    about: "Make a container of a bundle and what checkpoint has saved",
    args: || {
        let own = vec![
            bundle(),
            console_socket(),
            pid_file(),
            switch("detach", Some('d'), "Return once it runs, and don't delete it"),
            switch("no-subreaper", None, "Don't adopt the container's orphans"),
            no_pivot(),
            switch("tcp-close", None, "Close TCP connections instead of restoring them"),
            option(
                "lsm-profile",
                None,
                "TYPE:LABEL",
                "Another label for its processes; TYPE is apparmor or selinux",
            ),
            option("lsm-mount-context", None, "LABEL", "Another SELinux label for its mounts that have one"),
            id(),
        ];
        [image_options(), own].concat()
    },
    ends_flags: false,
    enters: true,
    read: |m| {
        ask(Command::Restore(Box::new(Restore {
            id: take(m, "id"),
            images: read_images(m),
            bundle: m.remove_one("bundle"),
            console_socket: m.remove_one("console-socket"),
            pid_file: m.remove_one("pid-file"),
            detach: take(m, "detach"),
            no_subreaper: take(m, "no-subreaper"),
            no_pivot: take(m, "no-pivot"),
            tcp_close: take(m, "tcp-close"),
            lsm_profile: m.remove_one("lsm-profile"),
            lsm_mount_context: m.remove_one("lsm-mount-context"),
        })))
    },
};

fn image_options() -> Vec<Arg> {
    vec![
        path("image-path", None, "DIR", "Where the saved state is (default: ./checkpoint)"),
        path("work-path", None, "DIR", "Where criu writes its log (default: the same)"),
        switch("tcp-established", None, "Save or restore established TCP connections"),
        switch("ext-unix-sk", None, "Save or restore Unix sockets whose other end is outside"),
        switch("shell-job", None, "The container's terminal is the caller's"),
        switch("file-locks", None, "Save or restore file locks"),
        switch("lazy-pages", None, "Leave memory where it is until it is used (criu(8), lazy-pages)"),
        switch("auto-dedup", None, "Remove pages from the image that a later one has"),
        option(
            "manage-cgroups-mode",
            None,
            "MODE",
            "What criu does with cgroups: soft, full, strict or ignore (default: soft)",
        )
        .value_parser(one_of::<CgroupsMode>(&CgroupsMode::NAMES)),
        option("empty-ns", None, "NAMESPACE", "Don't look into it: network, which is always so")
            .action(ArgAction::Append)
            .value_parser(one_of::<EmptyNamespace>(&["network"])),
        option(
            "network-lock",
            None,
            "METHOD",
            "What keeps connections quiet meanwhile: iptables, nftables or skip (default: iptables)",
        )
        .value_parser(one_of::<NetworkLock>(&NetworkLock::NAMES)),
    ]
}

fn read_images(m: &mut ArgMatches) -> Images {
    Images {
        image_path: m.remove_one("image-path"),
        work_path: m.remove_one("work-path"),
        tcp_established: take(m, "tcp-established"),
        ext_unix_sk: take(m, "ext-unix-sk"),
        shell_job: take(m, "shell-job"),
        file_locks: take(m, "file-locks"),
        lazy_pages: take(m, "lazy-pages"),
        auto_dedup: take(m, "auto-dedup"),
        manage_cgroups_mode: take(m, "manage-cgroups-mode"),
        empty_ns: m.remove_many::<EmptyNamespace>("empty-ns").is_some(),
        network_lock: m.remove_one("network-lock"),
    }
}
