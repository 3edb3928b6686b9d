//! linux.netDevices (config-linux.md, Network Devices): devices of the host that are moved into the container's network
//! namespace, with their addresses, before anything of the container runs.
//!
//! When the container ends the kernel ends its namespace, gives hardware back to the host and destroys what isn't
//! real. So a container that fails to be created gives back what it has got, before that happens.

pub(crate) mod message;
pub(crate) mod network;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::plan::NetDevice;
use crate::sys::{Call, Errno, Fail, Named, Pid};
use network::{Address, Destination, Network};

/// A device that is gone from the host, and how it was there.
struct Moved<'a> {
    device: &'a NetDevice,
    was_up: bool,
    addresses: Vec<Address>,
}

/// Devices on loan to a container that isn't there yet. Dropped, they return.
pub struct Loan<'a> {
    /// The container's; it lives as long as we ask it.
    container: Network,
    host: Network,
    moved: Vec<Moved<'a>>,
}

/// Moves all `devices` to the container whose process is `init`, or none.
pub fn lend<'a>(devices: &'a [NetDevice], init: Pid, pidfd: BorrowedFd) -> Result<Loan<'a>> {
    let doing = || "linux.netDevices: enter the container's network namespace".to_string();
    let own = File::open("/proc/self/ns/net").call(Call::Openat).doing(doing)?;
    let theirs = std::fs::metadata(format!("/proc/{init}/ns/net")).call(Call::Stat).doing(doing)?;
    if own.metadata().call(Call::Stat).doing(doing)?.ino() == theirs.ino() {
        let text = "linux.netDevices: unable to move network devices without a private NET namespace";
        return Err(Error::new(Kind::InvalidSpec, text).hint("the one that is joined is the host's"));
    }
    let mut loan = Loan {
        container: Network::of(pidfd, own.as_fd()).doing(doing)?,
        host: Network::own().doing(doing)?,
        moved: vec![],
    };
    for device in devices {
        loan.lend(device, init)?;
    }
    Ok(loan)
}

/// Whether the host has a device of this name.
pub fn find(name: &str) -> Result<()> {
    let found = Network::own().and_then(|network| network.link(name));
    found.map(drop).map_err(|fail| not_found(name, fail))
}

fn not_found(name: &str, fail: Fail) -> Error {
    let text = format!("linux.netDevices[{name}]: link not found for interface {name} on runtime namespace");
    Error::kernel(text, fail)
}

impl<'a> Loan<'a> {
    fn lend(&mut self, device: &'a NetDevice, init: Pid) -> Result<()> {
        let NetDevice { name, inside } = device;
        let doing = |what: &str| format!("linux.netDevices[{name}]: {what}");
        let link = self.host.link(name).map_err(|fail| not_found(name, fail))?;
        let addresses = self.host.addresses(link.index).doing(|| doing("read its addresses"))?;
        // Down first: nobody on the host may see it with its old addresses and a new name.
        self.host
            .set_up(link.index, false)
            .doing(|| doing("set it down"))
            .map_err(|error| error.hint("moving a device needs CAP_NET_ADMIN on the host"))?;
        let moved = Moved { device, was_up: link.is_up, addresses };
        let to = Destination { process: init, name: inside };
        if let Err(fail) = self.host.move_link(link.index, &to) {
            match self.host.link(name) {
                Ok(_) => self.restore(&moved, Ok(())),
                // It has moved all the same, and only its new name was refused.
                Err(_) => self.give_back(&moved, name),
            }
            let error = Error::kernel(doing(&format!("move it into the container as {inside}")), fail);
            return Err(match fail.errno {
                Errno::EEXIST => error.hint("the container has a device of this name already"),
                Errno::EINVAL => error.hint("it belongs to its network namespace and can't leave it"),
                _ => error,
            });
        }
        let arrived = arrive(&self.container, inside, &moved.addresses, true);
        self.moved.push(moved);
        arrived.doing(|| doing("set it up in the container"))
    }

    /// Takes a device, which the container has by the name `inside`, back to the host.
    fn give_back(&self, moved: &Moved, inside: &str) {
        let returned = self.container.link(inside).and_then(|link| {
            let host = Destination { process: Pid(std::process::id() as i32), name: &moved.device.name };
            self.container.set_up(link.index, false)?;
            self.container.move_link(link.index, &host)
        });
        self.restore(moved, returned);
    }

    /// Makes a device of the host what it was, if it has `returned`.
    fn restore(&self, moved: &Moved, returned: Result<(), Fail>) {
        let name = &moved.device.name;
        let restored = returned.and_then(|()| arrive(&self.host, name, &moved.addresses, moved.was_up));
        if let Err(fail) = restored {
            log::warning(&format!("linux.netDevices[{name}]: give it back to the host: {fail}"));
        }
    }

    /// The container is there: what it has is its own.
    pub fn commit(mut self) {
        self.moved.clear();
    }
}

/// Gives the device `name` of `network` these addresses; some it may have kept.
fn arrive(network: &Network, name: &str, addresses: &[Address], up: bool) -> Result<(), Fail> {
    let link = network.link(name)?;
    for address in addresses {
        match network.add_address(link.index, address) {
            Err(fail) if fail.errno == Errno::EEXIST => {}
            added => added?,
        }
    }
    if up { network.set_up(link.index, true) } else { Ok(()) }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        for moved in std::mem::take(&mut self.moved).iter().rev() {
            self.give_back(moved, &moved.device.inside);
        }
    }
}
