//! Watching for a while, then one snapshot: what `top --once` and `audit` share.

use std::{sync::Arc, time::Duration};

use clap::{Args, ValueEnum};

use super::{failure::Failure, pace::Pace, session::Session, source, stop::Stop, tables, watch::WatchArgs};
use crate::{
    enrich::{
        Enricher,
        names::{Limits, Names, System},
    },
    intake::RecordSource as _,
    snapshot::Snapshot,
    state::key::By,
};

/// The options of commands that show edges.
#[derive(Args, Clone, Debug)]
pub struct ObserveArgs {
    /// Which connections, and for how long.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// Fold edges: one row per process, executable, container, pod, remote, or name of the process
    ///
    /// Not said: a row per edge, that is program, container, network namespace, role and remote.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "How")]
    pub by: Option<ByArg>,

    /// Ask the name servers for the names of remotes that /etc/hosts does not have
    ///
    /// In the background; what is not answered by the end is shown by address.
    #[arg(long, help_heading = "How")]
    pub resolve: bool,
}

/// What edges are folded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ByArg {
    /// The process
    Pid,
    /// The executable
    Exe,
    /// The container
    Container,
    /// The pod
    Pod,
    /// The remote, a server's own port
    Remote,
    /// The name of the process
    Name,
}

impl From<ByArg> for By {
    fn from(by: ByArg) -> Self {
        match by {
            ByArg::Pid => Self::Pid,
            ByArg::Exe => Self::Exe,
            ByArg::Container => Self::Container,
            ByArg::Pod => Self::Pod,
            ByArg::Remote => Self::Remote,
            ByArg::Name => Self::Name,
        }
    }
}

/// Watches for as long as was asked, `window` if nothing was, and shows what there is then.
pub fn observe(args: &ObserveArgs, window: Duration) -> Result<Snapshot<'static>, Failure> {
    let options = args.watch.options(false)?;
    let filter = args.watch.filter(&options)?;
    let limits = args.watch.limits();
    let off = Arc::clone(&limits.off);
    let source = source::open(&options, limits)?;
    let mut enricher = Enricher::of_this_host(source.now_ns())?;
    if args.resolve {
        enricher = enricher.with_names(Names::start(System, Limits::default())?);
    }
    let first = tables::read();
    let window = args.watch.duration.unwrap_or(window);
    let stop = Stop::after(Some(window), off)?;
    source::announce(&source, &format!("for {}", humantime::format_duration(window)));
    let by = args.by.map_or(By::Edge, By::from);
    if (matches!(by, By::Container | By::Pod) || !args.watch.container.is_empty())
        && let Some(why) = enricher.groups_missing()
    {
        eprintln!("redial: containers of processes that end at once are not known: {why}");
    }
    let mut session = Session::new(source, enricher, filter, by, args.watch.max_edges());
    let mut pace = Pace::new(args.watch.ring_bytes);
    let mut events = 0;
    while !stop.wait(pace.after(events)) {
        events = session.drain(None)?;
        source::announce_notices(&mut session);
    }
    Ok(session.finish(None, first.as_ref())?)
}
