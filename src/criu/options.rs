//! From the command line to what criu is told: tables, without a look at anything.

use super::rpc::{self, CgroupMode, Options, PageServer};
use crate::cli::criu::{CgroupsMode, Images, NetworkLock};
use crate::cli::{Checkpoint, Restore};

pub const DUMP_LOG: &str = "dump.log";
pub const RESTORE_LOG: &str = "restore.log";

/// All but the errors, or nearly (criu(8), -v): what is wrong stands a few lines above where it says that it failed.
const LOG_LEVEL: i32 = 4;

const NEW_NETWORK: u32 = libc::CLONE_NEWNET as u32;

/// Of both commands.
fn common(images: &Images) -> Options {
    let mode = match images.manage_cgroups_mode {
        CgroupsMode::Soft => CgroupMode::Soft,
        CgroupsMode::Full => CgroupMode::Full,
        CgroupsMode::Strict => CgroupMode::Strict,
        CgroupsMode::Ignore => CgroupMode::Ignore,
    };
    let lock = images.network_lock.map(|method| match method {
        NetworkLock::Iptables => rpc::NetworkLock::Iptables,
        NetworkLock::Nftables => rpc::NetworkLock::Nftables,
        NetworkLock::Skip => rpc::NetworkLock::Skip,
    });
    Options {
        log_level: Some(LOG_LEVEL),
        notify_scripts: Some(true),
        orphan_pts_master: Some(true),
        // Network devices are the engine's, before and after.
        empty_ns: Some(NEW_NETWORK),
        tcp_established: yes(images.tcp_established),
        ext_unix_sk: yes(images.ext_unix_sk),
        shell_job: yes(images.shell_job),
        file_locks: yes(images.file_locks),
        lazy_pages: yes(images.lazy_pages),
        auto_dedup: yes(images.auto_dedup),
        manage_cgroups_mode: Some(mode as i32),
        network_lock: lock.map(|lock| lock as i32),
        ..Options::default()
    }
}

pub fn dump(args: &Checkpoint) -> Options {
    let page_server = args.page_server.as_ref().map(|server| PageServer {
        address: Some(server.address.clone()),
        port: Some(i32::from(server.port)),
    });
    let parent = args.parent_path.as_ref();
    Options {
        log_file: Some(DUMP_LOG.into()),
        leave_running: yes(args.leave_running),
        tcp_skip_in_flight: yes(args.tcp_skip_in_flight),
        link_remap: yes(args.link_remap),
        page_server,
        parent_img: parent.map(|path| path.to_string_lossy().into_owned()),
        // A pre-dump tracks memory by itself; the next dump says what has changed since only if it goes on with that.
        track_mem: yes(parent.is_some() || args.pre_dump),
        ..common(&args.images)
    }
}

pub fn restore(args: &Restore) -> Options {
    Options {
        log_file: Some(RESTORE_LOG.into()),
        evasive_devices: Some(true),
        // The container's first process is our child, as after a create.
        restore_sibling: Some(true),
        // Binds of one file system of the host are slaves of one mount there, which the newer way (criu 3.17) restores only
        // if they all are of one directory, and in a user namespace not at all.
        mntns_compat_mode: Some(true),
        tcp_close: yes(args.tcp_close),
        lsm_profile: args.lsm_profile.clone(),
        lsm_mount_context: args.lsm_mount_context.clone(),
        ..common(&args.images)
    }
}

fn yes(on: bool) -> Option<bool> {
    on.then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told besides what is always told.
    #[track_caller]
    fn dumps(change: impl FnOnce(&mut Checkpoint), expected: Options) {
        let mut args = Checkpoint::default();
        change(&mut args);
        let always = dump(&Checkpoint::default());
        let merged = Options {
            log_level: always.log_level,
            log_file: always.log_file,
            notify_scripts: always.notify_scripts,
            orphan_pts_master: always.orphan_pts_master,
            empty_ns: always.empty_ns,
            manage_cgroups_mode: expected.manage_cgroups_mode.or(always.manage_cgroups_mode),
            ..expected
        };
        assert_eq!(dump(&args), merged);
    }

    #[test]
    fn each_option_of_checkpoint() {
        let on = Some(true);
        let none = Options::default;
        dumps(|_| {}, none());
        dumps(|a| a.images.tcp_established = true, Options { tcp_established: on, ..none() });
        dumps(|a| a.images.ext_unix_sk = true, Options { ext_unix_sk: on, ..none() });
        dumps(|a| a.images.shell_job = true, Options { shell_job: on, ..none() });
        dumps(|a| a.images.file_locks = true, Options { file_locks: on, ..none() });
        dumps(|a| a.images.lazy_pages = true, Options { lazy_pages: on, ..none() });
        dumps(|a| a.images.auto_dedup = true, Options { auto_dedup: on, ..none() });
        dumps(|a| a.images.empty_ns = true, none());
        dumps(|a| a.leave_running = true, Options { leave_running: on, ..none() });
        dumps(|a| a.tcp_skip_in_flight = true, Options { tcp_skip_in_flight: on, ..none() });
        dumps(|a| a.link_remap = true, Options { link_remap: on, ..none() });
        dumps(|a| a.pre_dump = true, Options { track_mem: on, ..none() });
        let parent = Options { parent_img: Some("../p".into()), track_mem: on, ..none() };
        dumps(|a| a.parent_path = Some("../p".into()), parent);
        let server = PageServer { address: Some("::1".into()), port: Some(27) };
        dumps(|a| a.page_server = "[::1]:27".parse().ok(), Options { page_server: Some(server), ..none() });
        for (mode, number) in [("soft", 3), ("full", 4), ("strict", 5), ("ignore", 0)] {
            let expected = Options { manage_cgroups_mode: Some(number), ..none() };
            dumps(|a| a.images.manage_cgroups_mode = mode.parse().unwrap(), expected);
        }
        for (method, number) in [("iptables", 1), ("nftables", 2), ("skip", 3)] {
            let expected = Options { network_lock: Some(number), ..none() };
            dumps(|a| a.images.network_lock = method.parse().ok(), expected);
        }
    }

    #[test]
    fn each_option_of_restore() {
        let always = restore(&Restore::default());
        assert_eq!(always.restore_sibling, Some(true));
        assert_eq!(always.log_file.as_deref(), Some(RESTORE_LOG));
        let label = || Some("selinux:l".to_string());
        let args = Restore {
            tcp_close: true,
            lsm_profile: label(),
            lsm_mount_context: Some("c".into()),
            ..Restore::default()
        };
        let expected = Options {
            tcp_close: Some(true),
            lsm_profile: label(),
            lsm_mount_context: Some("c".into()),
            ..always
        };
        assert_eq!(restore(&args), expected);
    }
}
