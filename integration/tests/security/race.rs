//! A container that swaps a directory for a symlink, again and again, while another one is created on the same
//! files: what was checked is no longer what is used, unless both are the same fd.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use integration::{Host, unharmed};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;

/// Exchanges the two paths until `work` is over; gives the number of exchanges.
pub fn while_swapping(a: &Path, b: &Path, work: impl FnOnce()) -> u32 {
    let (over, count) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).expect("exchange");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    });
    count.into_inner()
}

/// CVE-2021-30465 (mounts), CVE-2024-45310 (files made on the host for mount points), and devices likewise.
/// runc 1.1.5 mounts on, or makes, files of the host.
#[test]
fn a_swapped_mount_point_reaches_no_host_file() {
    unharmed("CVE-2021-30465", |lab| {
        let host = Host::new(lab.dir(), &["dir/", "dir/file"]);
        let source = host.path("dir/file");
        let c = lab
            .bundle()
            .directory("/shared/volume")
            .mount("/shared/volume/dir", "tmpfs", "tmpfs", &[])
            .mount("/shared/volume/new/deep", "tmpfs", "tmpfs", &[])
            .mount("/shared/volume/file", "", &source, &["bind"])
            .set(
                "/linux/devices",
                json!([{ "path": "/shared/volume/null", "type": "c", "major": 1, "minor": 3 }]),
            )
            .set("/linux/maskedPaths", json!(["/shared/volume/dir", "/shared/volume/file"]))
            .container();
        let (volume, evil) = (c.bundle.path("/shared/volume"), c.bundle.path("/shared/evil"));
        symlink(format!("{}{}", "../".repeat(16), &host.path("dir")[1..]), &evil).expect("a symlink");
        // By its fd, lest the clean-up itself follows the symlink.
        let directory = fs::File::open(&volume).expect("a directory");
        let real = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        let mut worked = 0;
        let swaps = while_swapping(&volume, &evil, || {
            for _ in 0..100 {
                worked += i32::from(c.create(&[]).code() == 0);
                host.assert_untouched();
                c.delete(&["--force"]);
                for name in ["dir", "new", "file", "null"] {
                    let at = real.join(name);
                    let _ = fs::remove_dir_all(&at).or_else(|_| fs::remove_file(&at)); // each may be missing
                }
            }
        });
        assert!(swaps > 100, "only {swaps} exchanges");
        assert!(worked > 0, "none of 100 was created: nothing was tried");
        host.assert_untouched();
    });
}

/// CVE-2019-19921: with a shared volume that holds /proc's mount point.
#[test]
fn a_swapped_proc_is_mounted_on_an_ordinary_directory_or_not_at_all() {
    unharmed("CVE-2019-19921", |lab| {
        let c = lab.bundle().directory("/elsewhere").phrases(["mounts"]).container();
        let (proc, evil) = (c.bundle.path("/proc"), c.bundle.path("/evil"));
        symlink("elsewhere", &evil).expect("a symlink");
        while_swapping(&proc, &evil, || {
            for _ in 0..100 {
                let ran = c.run(&[]);
                if ran.code() == 0 {
                    assert!(!ran.stdout().contains("/elsewhere"), "{}", ran.stdout());
                }
            }
        });
    });
}
