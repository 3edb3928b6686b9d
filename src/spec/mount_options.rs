//! Mount options of config.json, sorted by what they act on.
pub const MS_NOSYMFOLLOW: u64 = 256;
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    pub flags: u64,
    pub cleared: u64,
    pub bind: Option<bool>,
    pub propagation: Vec<u64>,
    pub attr_set: u64,
    pub attr_clear: u64,
    pub tmpcopyup: bool,
    pub data: String,
}
impl MountOptions {
    pub fn is_bind(&self) -> bool {
        self.bind.is_some()
    }
    pub fn is_recursive_bind(&self) -> bool {
        self.bind == Some(true)
    }
}
pub fn parse(options: &[String]) -> MountOptions {
    let mut p = MountOptions::default();
    let mut data = vec![];
    for o in options {
        match o.as_str() {
            "bind" => p.bind = Some(false),
            "rbind" => p.bind = Some(true),
            "ro" => p.flags |= libc::MS_RDONLY,
            "nosuid" => p.flags |= libc::MS_NOSUID,
            "nodev" => p.flags |= libc::MS_NODEV,
            "noexec" => p.flags |= libc::MS_NOEXEC,
            "strictatime" => p.flags |= libc::MS_STRICTATIME,
            "relatime" => p.flags |= libc::MS_RELATIME,
            "noatime" => p.flags |= libc::MS_NOATIME,
            "atime" => p.cleared |= libc::MS_NOATIME,
            "rw" => p.cleared |= libc::MS_RDONLY,
            "rprivate" => p.propagation.push(libc::MS_PRIVATE | libc::MS_REC),
            o => data.push(o.to_string()),
        }
    }
    p.data = data.join(",");
    p
}
