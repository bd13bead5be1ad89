//! Network interfaces by ioctl, so that a guest without iproute2 can run the tests too: up, addresses, tun devices.

use std::{
    fs::{File, OpenOptions},
    net::{IpAddr, Ipv4Addr, UdpSocket},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{libc, net::if_::if_nametoindex};
use socket2::{Domain, Socket, Type};

use self::ioctl::{get_flags, set_address, set_address6, set_flags, set_netmask, set_tun};
use crate::clock::poll_until;

mod ioctl {
    use nix::libc;

    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
    nix::ioctl_read_bad!(get_flags, libc::SIOCGIFFLAGS, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_netmask, libc::SIOCSIFNETMASK, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_address6, libc::SIOCSIFADDR, libc::in6_ifreq);
    nix::ioctl_write_ptr_bad!(set_tun, libc::TUNSETIFF, libc::ifreq);
}

/// Brings the interface `name` up in the calling thread's namespace.
pub fn up(name: &str) -> Result<()> {
    let socket = control(Domain::IPV4)?;
    let mut request = request(name)?;
    // SAFETY: the kernel reads the name and writes the flags of a request that lives across the call.
    unsafe { get_flags(socket.as_raw_fd(), &raw mut request) }.with_context(|| format!("read the flags of {name}"))?;
    // SAFETY: the call before wrote the member that is read here.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel only reads the request.
    unsafe { set_flags(socket.as_raw_fd(), &raw const request) }.with_context(|| format!("bring {name} up"))?;
    Ok(())
}

/// Gives the interface `name` an address with a prefix of `prefix` bits (IPv4: at most 31).
pub fn add_address(name: &str, address: IpAddr, prefix: u32) -> Result<()> {
    let what = || format!("give {name} the address {address}/{prefix}");
    match address {
        IpAddr::V4(v4) => {
            let socket = control(Domain::IPV4)?;
            let mut request = request(name)?;
            request.ifr_ifru.ifru_addr = sockaddr(v4);
            // SAFETY: the kernel only reads the request, whose address member was just set.
            unsafe { set_address(socket.as_raw_fd(), &raw const request) }.with_context(what)?;
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            request.ifr_ifru.ifru_netmask = sockaddr(Ipv4Addr::from(mask));
            // SAFETY: as above.
            unsafe { set_netmask(socket.as_raw_fd(), &raw const request) }.with_context(what)?;
        }
        IpAddr::V6(v6) => {
            let socket = control(Domain::IPV6)?;
            let index = if_nametoindex(name).with_context(what)?;
            let request = libc::in6_ifreq {
                ifr6_addr: libc::in6_addr { s6_addr: v6.octets() },
                ifr6_prefixlen: prefix,
                ifr6_ifindex: i32::try_from(index).with_context(what)?,
            };
            // SAFETY: the kernel only reads the request.
            unsafe { set_address6(socket.as_raw_fd(), &raw const request) }.with_context(what)?;
            // The kernel checks for a duplicate in the background, and nobody can bind the address before that.
            let usable = poll_until(Duration::from_secs(2), || UdpSocket::bind((v6, 0)).is_ok());
            ensure!(usable, "{name}: {v6} did not become usable");
        }
    }
    Ok(())
}

/// Makes a tun device (layer 3, bare IP packets) in the calling thread's namespace. It ends with the file.
pub fn tun(name: &str) -> Result<File> {
    let path = "/dev/net/tun";
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .with_context(|| format!("open {path} (load the module `tun`)"))?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the kernel only reads the request, whose flags were just set.
    unsafe { set_tun(file.as_raw_fd(), &raw const request) }.with_context(|| format!("make the tun device {name}"))?;
    Ok(file)
}

fn control(domain: Domain) -> Result<Socket> {
    Socket::new(domain, Type::DGRAM, None).context("make a socket for ioctl")
}

fn request(name: &str) -> Result<libc::ifreq> {
    ensure!(name.len() < libc::IFNAMSIZ, "{name}: longer than an interface's name may be");
    // SAFETY: `ifreq` is made of integers and a pointer that is never followed; all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}
