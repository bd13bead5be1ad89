//! redial's kernel programs: they follow each TCP connection and send one record when it ends.
//!
//! `probes/` holds one kernel event a file, with its fallbacks beside it; all of them call `conns`, which keeps the
//! live state. `sock` reads sockets, `owner` and some probes read tasks; `emit` is the only one that sends.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod conns;
mod emit;
mod existing;
mod maps;
mod owner;
mod probes;
mod settings;
mod sock;
mod turns;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
