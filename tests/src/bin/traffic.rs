//! The load generator: `traffic client|server|churn|hold SPEC [TRUTH]`, SPEC being JSON and TRUTH a file to append to.

use std::path::Path;

use anyhow::{Context, Result, bail};
use redial_tests::traffic::{churn, client, hold, server, serving};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["client", spec, truth] => client::run(&serde_json::from_str(spec).context("read SPEC")?, Path::new(truth)),
        ["server", spec, truth] => server::run(&serde_json::from_str(spec).context("read SPEC")?, Path::new(truth)),
        ["serve-fd", fd, script, truth] => {
            let script = serde_json::from_str(script).context("read the script")?;
            serving::serve_fd(fd.parse().context("read the descriptor")?, &script, Path::new(truth))
        }
        ["churn", spec] => {
            let spec: churn::Churn = serde_json::from_str(spec).context("read SPEC")?;
            println!("{}", serde_json::to_string(&churn::run(&spec)?)?);
            Ok(())
        }
        ["churn-server", spec] => {
            let spec: churn::Churn = serde_json::from_str(spec).context("read SPEC")?;
            println!("{}", serde_json::to_string(&churn::serve_others(&spec)?)?);
            Ok(())
        }
        ["hold", spec] => hold::run(&serde_json::from_str(spec).context("read SPEC")?),
        _ => bail!("usage: traffic client SPEC TRUTH | server SPEC TRUTH | churn SPEC | churn-server SPEC | hold SPEC"),
    }
}
