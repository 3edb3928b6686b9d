//! A network namespace through a netlink socket: devices and addresses, as far as moving a device needs them.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::message::{Message, Received, attributes, messages, u16_at, u32_at};
use crate::sys::{Call, Errno, Fail, Pid, netlink};

// linux/netlink.h
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const CREATE_NEW: u16 = 0x400 | 0x200;
const ERROR: u16 = 2;
const DONE: u16 = 3;
// linux/if_addr.h, behind the fixed part of 8 bytes: family, prefix length, flags, scope, index u32
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFADDRMSG: usize = 8;
/// What the user has set of an address: nodad, home, no prefix route, multicast join, managed temporary ones.
const IFA_F_OF_THE_USER: u32 = 0x02 | 0x10 | 0x200 | 0x400 | 0x100;
const IFA_F_PERMANENT: u32 = 0x80;
// A link's fixed part of 16 bytes: family, type, index i32, flags u32, which flags to change u32
const IFF_UP: u32 = 1;

/// A device by its number, and whether it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub is_up: bool,
}

/// An address as it is given again elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// IFA_ADDRESS, IFA_LOCAL and IFA_BROADCAST, those that there are.
    values: Vec<(u16, Vec<u8>)>,
}

/// Where a link goes with its new name.
pub struct Destination<'a> {
    /// Somebody in the network namespace.
    pub process: Pid,
    pub name: &'a str,
}

pub struct Network {
    socket: OwnedFd,
    sequence: Cell<u32>,
}

impl Network {
    /// Our own.
    pub fn own() -> Result<Network, Fail> {
        netlink::open().map(Network::new)
    }

    /// That of the process behind `pidfd`. `own` is our own network namespace.
    pub fn of(pidfd: BorrowedFd, own: BorrowedFd) -> Result<Network, Fail> {
        netlink::open_in(pidfd, own).map(Network::new)
    }

    fn new(socket: OwnedFd) -> Network {
        Network { socket, sequence: Cell::new(0) }
    }

    /// The device with this name, ENODEV if there is none.
    pub fn link(&self, name: &str) -> Result<Link, Fail> {
        let mut found = None;
        let message = self.message(libc::RTM_GETLINK, 0, &ifinfomsg(0, 0, 0)).text(libc::IFLA_IFNAME, name);
        self.ask(Call::RtmGetlink, message, |reply| {
            let (index, flags) = (u32_at(reply.body, 4), u32_at(reply.body, 8));
            found = index.zip(flags);
        })?;
        let (index, flags) = found.ok_or(Fail::new(Call::RtmGetlink, Errno::EPROTO))?;
        Ok(Link { index, is_up: flags & IFF_UP != 0 })
    }

    pub fn set_up(&self, index: u32, up: bool) -> Result<(), Fail> {
        let flags = if up { IFF_UP } else { 0 };
        let message = self.message(libc::RTM_NEWLINK, ACK, &ifinfomsg(index, flags, IFF_UP));
        self.ask(Call::RtmNewlink, message, |_| {})
    }

    /// Into another network namespace, in one go with the new name. EEXIST: it is taken there.
    pub fn move_link(&self, index: u32, to: &Destination) -> Result<(), Fail> {
        let message = self
            .message(libc::RTM_NEWLINK, ACK, &ifinfomsg(index, 0, 0))
            .attribute(libc::IFLA_NET_NS_PID, &to.process.0.to_ne_bytes())
            .text(libc::IFLA_IFNAME, to.name);
        self.ask(Call::RtmNewlink, message, |_| {})
    }

    /// The addresses that the user has given a device: permanent ones that are valid everywhere. Others belong to
    /// where it is, or expire.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>, Fail> {
        // A list that changed while it was read is read again (netlink(7), NLM_F_DUMP_INTR).
        for _ in 0..10 {
            let (mut found, mut whole) = (Vec::new(), true);
            let message = self.message(libc::RTM_GETADDR, DUMP, &[0; IFADDRMSG]);
            self.ask(Call::RtmGetaddr, message, |reply| {
                whole &= reply.flags & DUMP_INTERRUPTED == 0;
                found.extend(address(reply.body, index));
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(Fail::new(Call::RtmGetaddr, Errno::EINTR))
    }

    pub fn add_address(&self, index: u32, address: &Address) -> Result<(), Fail> {
        let [i0, i1, i2, i3] = index.to_ne_bytes();
        let fixed = [address.family, address.prefix, 0, 0, i0, i1, i2, i3];
        let mut message = self.message(libc::RTM_NEWADDR, ACK | CREATE_NEW, &fixed);
        for (kind, value) in &address.values {
            message = message.attribute(*kind, value);
        }
        message = message.attribute(IFA_FLAGS, &address.flags.to_ne_bytes());
        self.ask(Call::RtmNewaddr, message, |_| {})
    }

    fn message(&self, kind: u16, flags: u16, fixed: &[u8]) -> Message {
        self.sequence.set(self.sequence.get().wrapping_add(1));
        Message::new(kind, REQUEST | flags, self.sequence.get(), fixed)
    }

    /// Sends a message and shows each answer to `each`, until all have come. A refusal is the kernel's errno.
    fn ask(&self, call: Call, message: Message, mut each: impl FnMut(&Received)) -> Result<(), Fail> {
        let message = message.into_bytes();
        let is_dump = u16_at(&message, 6).is_some_and(|flags| flags & DUMP == DUMP);
        netlink::send(&self.socket, &message)?;
        let mut buffer = vec![0; 32 * 1024]; // as much as the kernel puts into one datagram of a list
        loop {
            let length = netlink::receive(&self.socket, &mut buffer)?;
            let datagram = buffer.get(..length).ok_or(Fail::new(call, Errno::EMSGSIZE))?;
            let ours = messages(datagram).filter(|reply| reply.sequence == self.sequence.get());
            for reply in ours {
                match reply.kind {
                    DONE => return Ok(()),
                    ERROR => {
                        return match u32_at(reply.body, 0).map(|errno| errno as i32) {
                            Some(0) => Ok(()),
                            Some(errno) => Err(Fail::new(call, Errno::from_raw(-errno))),
                            None => Err(Fail::new(call, Errno::EPROTO)),
                        };
                    }
                    _ => each(&reply),
                }
                if !is_dump {
                    return Ok(());
                }
            }
        }
    }
}

fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// An address of the device `index`, if it is one to keep.
pub(crate) fn address(body: &[u8], index: u32) -> Option<Address> {
    let [family, prefix, short_flags, scope, ..] = *body else {
        return None;
    };
    let mut flags = u32::from(short_flags);
    let mut values = Vec::new();
    for (kind, value) in attributes(body, IFADDRMSG) {
        match kind {
            IFA_FLAGS => flags = u32_at(value, 0)?,
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => values.push((kind, value.to_vec())),
            _ => {}
        }
    }
    let is_global = scope == libc::RT_SCOPE_UNIVERSE;
    let keep = u32_at(body, 4) == Some(index) && is_global && flags & IFA_F_PERMANENT != 0;
    keep.then_some(Address { family, prefix, flags: flags & IFA_F_OF_THE_USER, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_keep() {
        const INET: u8 = libc::AF_INET as u8;
        let body = |flags: u8, scope: u8, index: u32, long: u32| {
            let mut fixed = vec![INET, 24, flags, scope];
            fixed.extend(index.to_ne_bytes());
            let message = Message::new(20, 0, 0, &fixed)
                .attribute(IFA_ADDRESS, &[10, 0, 0, 1])
                .attribute(IFA_LOCAL, &[10, 0, 0, 1])
                .text(3, "label")
                .attribute(IFA_FLAGS, &long.to_ne_bytes());
            message.into_bytes()[16..].to_vec()
        };
        let found = address(&body(0x80, 0, 4, 0x280), 4).expect("kept");
        assert_eq!((found.family, found.prefix, found.flags), (INET, 24, 0x200));
        assert_eq!(found.values.len(), 2);
        assert_eq!(address(&body(0x80, 0, 5, 0x80), 4), None, "of another device");
        assert_eq!(address(&body(0x80, 253, 4, 0x80), 4), None, "link-local");
        assert_eq!(address(&body(0x80, 0, 4, 0), 4), None, "one that expires");
        assert_eq!(address(&[2, 24], 4), None, "broken");
    }

    #[test]
    fn the_loopback_device_is_there() {
        let network = Network::own().expect("a socket");
        let lo = network.link("lo").expect("lo");
        assert!(lo.index > 0);
        assert_eq!(network.link("no-such-device"), Err(Fail::new(Call::RtmGetlink, Errno::ENODEV)));
        assert_eq!(network.addresses(lo.index), Ok(vec![]), "127.0.0.1 and ::1 are the host's");
    }
}
