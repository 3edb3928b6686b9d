//! What `checkpoint` and `restore` are told, as types.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What both take: where the image is, and how criu(8) is to treat what isn't the container's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// None: `checkpoint` in the current directory.
    pub image_path: Option<PathBuf>,
    /// Where criu keeps its log and other files for its own use; None: with the image.
    pub work_path: Option<PathBuf>,
    pub tcp_established: bool,
    pub ext_unix_sk: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub lazy_pages: bool,
    pub auto_dedup: bool,
    pub manage_cgroups_mode: CgroupsMode,
    /// Asked for or not, the devices of a new network namespace are left to whoever has made them.
    pub empty_ns: bool,
    pub network_lock: Option<NetworkLock>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub id: String,
    pub images: Images,
    /// The image of a pre-dump, relative to this one.
    pub parent_path: Option<PathBuf>,
    pub leave_running: bool,
    pub pre_dump: bool,
    pub tcp_skip_in_flight: bool,
    pub link_remap: bool,
    /// Gets a zero byte once pages can be asked for.
    pub status_fd: Option<i32>,
    pub page_server: Option<PageServer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    pub id: String,
    pub images: Images,
    pub bundle: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub detach: bool,
    pub no_subreaper: bool,
    pub no_pivot: bool,
    pub tcp_close: bool,
    /// TYPE:LABEL, TYPE being apparmor or selinux.
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// What criu does with cgroups (criu(8), --manage-cgroups).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    #[default]
    Soft,
    Full,
    Strict,
    Ignore,
}

impl CgroupsMode {
    pub const NAMES: [&str; 4] = ["soft", "full", "strict", "ignore"];

    pub fn name(self) -> &'static str {
        match self {
            CgroupsMode::Soft => "soft",
            CgroupsMode::Full => "full",
            CgroupsMode::Strict => "strict",
            CgroupsMode::Ignore => "ignore",
        }
    }
}

impl FromStr for CgroupsMode {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<CgroupsMode, Self::Err> {
        let all = [CgroupsMode::Soft, CgroupsMode::Full, CgroupsMode::Strict, CgroupsMode::Ignore];
        let found = all.into_iter().find(|mode| mode.name() == text);
        found.ok_or("soft, full, strict or ignore")
    }
}

/// How established connections are kept quiet meanwhile (criu(8), --network-lock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkLock {
    Iptables,
    Nftables,
    Skip,
}

impl NetworkLock {
    pub const NAMES: [&str; 3] = ["iptables", "nftables", "skip"];

    pub fn name(self) -> &'static str {
        match self {
            NetworkLock::Iptables => "iptables",
            NetworkLock::Nftables => "nftables",
            NetworkLock::Skip => "skip",
        }
    }
}

impl FromStr for NetworkLock {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<NetworkLock, Self::Err> {
        let all = [NetworkLock::Iptables, NetworkLock::Nftables, NetworkLock::Skip];
        let found = all.into_iter().find(|method| method.name() == text);
        found.ok_or("iptables, nftables or skip")
    }
}

/// A namespace whose content isn't looked at. There is but one that criu knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptyNamespace;

impl FromStr for EmptyNamespace {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<EmptyNamespace, Self::Err> {
        match text {
            "network" => Ok(EmptyNamespace),
            _ => Err("network"),
        }
    }
}

/// Where pages are asked for or sent to: ADDRESS:PORT, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageServer {
    pub address: String,
    pub port: u16,
}

impl FromStr for PageServer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<PageServer, Self::Err> {
        const EXPECTED: &str = "use ADDRESS:PORT, such as 10.0.0.1:27000 or [fe80::1]:27000";
        let (address, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ambiguous = bare.is_none() && address.contains(':');
        let address = bare.unwrap_or(address);
        let port = port.parse().ok().filter(|port| *port != 0);
        match port {
            Some(port) if !address.is_empty() && !ambiguous => {
                Ok(PageServer { address: address.into(), port })
            }
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for PageServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.contains(':') {
            true => write!(f, "[{}]:{}", self.address, self.port),
            false => write!(f, "{}:{}", self.address, self.port),
        }
    }
}
