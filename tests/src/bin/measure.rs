//! What the agent's user space costs without a kernel: `measure snapshot|records SPEC`, SPEC being JSON. Prints JSON.

use anyhow::{Context, Result, bail};
use redial_tests::measure::{records, snapshot};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let measured = match words.as_slice() {
        ["snapshot", spec] => serde_json::to_string(&snapshot::run(&serde_json::from_str(spec).context("read SPEC")?)?),
        ["records", spec] => serde_json::to_string(&records::run(&serde_json::from_str(spec).context("read SPEC")?)?),
        _ => bail!("usage: measure snapshot SPEC | records SPEC"),
    };
    println!("{}", measured?);
    Ok(())
}
