//! A file system in user space (fuse(4)) that is one file, and never opens it for anybody.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Requests of linux/fuse.h that are answered: all others are read, and so on their way for ever.
const GETATTR: u32 = 3;
const INIT: u32 = 26;

/// Mounted on a file until it is dropped; whoever waits for it then is told that it is gone.
pub struct Silent(PathBuf);

impl Silent {
    /// On `path`, in this thread's mount namespace.
    pub fn mount(path: &Path) -> Silent {
        let node = path.with_extension("fuse"); // a lab's /dev hasn't all
        mknod(&node, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(10, 229)).expect("a device");
        let device = OpenOptions::new().read(true).write(true).open(&node).expect("fuse(4)");
        let options = format!("fd={},rootmode=100644,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount(Some("silent"), path, Some("fuse"), MsFlags::empty(), Some(options.as_str()))
            .expect("mount fuse");
        thread::spawn(move || serve(device));
        Silent(path.into())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // By force: whoever waits for an answer gets an error, and the server's read too.
        let _ = umount2(&self.0, MntFlags::MNT_FORCE); // the mount may be gone
        let _ = umount2(&self.0, MntFlags::MNT_DETACH); // the same
    }
}

/// struct fuse_in_header is length 4, opcode 4, unique 8, node 8, ids; fuse_out_header length 4, error 4, unique 8.
fn serve(mut device: File) {
    let mut request = vec![0; 1 << 20];
    while let Ok(length) = device.read(&mut request) {
        let Some(opcode) = request[..length].get(4..8) else { return };
        let opcode = u32::from_ne_bytes(opcode.try_into().expect("four bytes"));
        let body = match opcode {
            // Version 7.31, and no wishes.
            INIT => [&7u32.to_ne_bytes()[..], &31u32.to_ne_bytes(), &[0; 56]].concat(),
            GETATTR => attributes(),
            _ => continue,
        };
        let header = [&(16 + body.len() as u32).to_ne_bytes()[..], &[0; 4], &request[8..16]].concat();
        if device.write_all(&[header, body].concat()).is_err() {
            return; // unmounted
        }
    }
}

/// struct fuse_attr_out: valid for an hour; a plain file of one page, 0644, of root's.
fn attributes() -> Vec<u8> {
    let long = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<_>>();
    let short = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<_>>();
    let validity = [long(&[3600]), short(&[0, 0])];
    let attributes = [long(&[1, 4096, 8, 0, 0, 0]), short(&[0, 0, 0, 0o100_644, 1, 0, 0, 0, 4096, 0])];
    [validity, attributes].concat().concat()
}
