//! A file as a block device (loop(4)), for a snapshotter whose snapshots are images of file systems.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::sys;

pub struct LoopDevice {
    pub path: String,
    /// Held until it is mounted: it is let go with the last that has it open.
    _file: File,
}

pub fn attach(file: &Path, read_only: bool) -> io::Result<LoopDevice> {
    let open = |path: &Path| OpenOptions::new().read(true).write(!read_only).open(path);
    let file = open(file)?;
    let control = File::open("/dev/loop-control")?;
    loop {
        let path = format!("/dev/loop{}", sys::free_loop_device(control.as_fd())?);
        let device = open(Path::new(&path))?;
        match sys::configure_loop_device(device.as_fd(), file.as_fd(), read_only) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => continue, // somebody was faster
            configured => configured?,
        }
        return Ok(LoopDevice { path, _file: device });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    #[ignore = "needs root"]
    fn it_has_what_the_file_has() {
        let path = std::env::temp_dir().join(format!("rrunc-shim-loop-{}", std::process::id()));
        fs::write(&path, [7; 8192]).unwrap();
        let of = |device: &LoopDevice, file: &str| {
            let name = device.path.rsplit('/').next().unwrap();
            let text = fs::read_to_string(format!("/sys/block/{name}/{file}")).unwrap();
            text.trim().to_string()
        };
        for read_only in [false, true] {
            let device = attach(&path, read_only).unwrap();
            assert_eq!(of(&device, "loop/backing_file"), path.to_str().unwrap());
            assert_eq!(of(&device, "ro"), u8::from(read_only).to_string());
            assert_eq!(fs::read(&device.path).unwrap(), [7; 8192]);
            let other = attach(&path, read_only).unwrap();
            assert_ne!(device.path, other.path);
        }
        fs::remove_file(&path).unwrap();
    }
}
