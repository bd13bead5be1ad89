//! What one mix is: a server, its clients, and an attempt that fails, with all that is random about them fixed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use redial_tests::traffic::spec::{End, Io, Repeat, Script, Serving, Step};

/// How the connections of a mix end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closes.
    ClientCloses,
    /// The client's process exits.
    ClientExits,
    /// The server closes.
    ServerCloses,
    /// The client resets.
    ClientResets,
    /// The server resets.
    ServerResets,
    /// The client sends FIN with its last request; the server answers and closes.
    HalfCloses,
    /// Not at all.
    Held,
    /// Not at all, but the client has sent FIN.
    HeldHalfClosed,
}

impl Ending {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::ClientCloses,
        Self::ClientExits,
        Self::ServerCloses,
        Self::ClientResets,
        Self::ServerResets,
        Self::HalfCloses,
        Self::Held,
        Self::HeldHalfClosed,
    ];

    /// Whether connections are there at the end.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Held | Self::HeldHalfClosed)
    }

    /// Whether the client alone decides after how many rounds it ends.
    pub fn is_clients(self) -> bool {
        matches!(self, Self::ClientCloses | Self::ClientExits | Self::ClientResets)
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address.
    At(IpAddr),
    /// Everywhere.
    Everywhere,
}

impl Listen {
    /// The address to give to `bind`.
    pub fn address(self) -> IpAddr {
        match self {
            Self::At(address) => address,
            Self::Everywhere => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// A server process.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Which of the servers' executables.
    pub program: usize,
    /// Where it listens.
    pub listen: Listen,
    /// Who serves.
    pub serving: Serving,
    /// By which calls.
    pub io: Io,
    /// Bytes of a request.
    pub request: usize,
    /// Bytes of an answer.
    pub answer: usize,
    /// How its connections end.
    pub ending: Ending,
    /// Rounds, where the client does not decide.
    pub rounds: u32,
}

/// A client process.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Which of the clients' executables.
    pub program: usize,
    /// Where to, one after the other.
    pub targets: Vec<IpAddr>,
    /// Where from, one after the other.
    pub sources: Vec<Ipv4Addr>,
    /// How many connections.
    pub connections: u32,
    /// From how many threads.
    pub threads: u32,
    /// Rounds on each.
    pub rounds: u32,
    /// By which calls.
    pub io: Io,
    /// Whether the process is older than the agent.
    pub is_early: bool,
}

/// Why attempts fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// There is no route.
    Unreachable,
    /// The listener's queue is full, and the client gives up.
    Cancelled,
    /// The same, and the client waits on.
    Connecting,
}

/// A client process whose attempts fail.
#[derive(Clone, Copy, Debug)]
pub struct FaultPlan {
    /// Which of the clients' executables.
    pub program: usize,
    /// Why.
    pub fault: Fault,
    /// How many attempts.
    pub attempts: u32,
}

/// One mix.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "the number is for messages, which print all of it")]
pub struct Mix {
    /// Its place in the whole run.
    pub number: usize,
    /// The server.
    pub server: ServerPlan,
    /// Its clients.
    pub clients: Vec<ClientPlan>,
    /// Attempts that fail.
    pub fault: Option<FaultPlan>,
}

impl ServerPlan {
    /// What it does on each connection.
    pub fn script(&self) -> Script {
        let round = [Step::Recv(self.request), Step::Send(self.answer)];
        let fixed = Script::new(Repeat::Times(self.rounds), &round);
        let script = match self.ending {
            Ending::ClientCloses | Ending::ClientExits | Ending::ClientResets => Script::new(Repeat::UntilEof, &round),
            Ending::ServerCloses => fixed,
            // The client's last byte says that it has read all: nothing is under way when the server resets.
            Ending::ServerResets => fixed.tail(&[Step::Recv(1)]).end(End::Reset),
            Ending::HalfCloses => fixed.tail(&[Step::Recv(self.request), Step::Eof, Step::Send(self.answer)]),
            Ending::Held => fixed.tail(&[Step::Hold]),
            Ending::HeldHalfClosed => fixed.tail(&[Step::Eof, Step::Hold]),
        };
        script.io(self.io)
    }
}

impl ClientPlan {
    /// What it does on each connection to `server`.
    pub fn script(&self, server: &ServerPlan) -> Script {
        let (ask, hear) = (Step::Send(server.request), Step::Recv(server.answer));
        let script = Script::new(Repeat::Times(self.rounds), &[ask, hear]);
        let script = match server.ending {
            Ending::ClientCloses => script,
            Ending::ClientExits => script.end(End::Exit),
            Ending::ServerCloses => script.tail(&[Step::Eof]),
            Ending::ClientResets => script.end(End::Reset),
            Ending::ServerResets => script.tail(&[Step::Send(1), Step::Eof]),
            Ending::HalfCloses => script.tail(&[ask, Step::Shutdown, hear, Step::Eof]),
            Ending::Held => script.tail(&[Step::Hold]),
            Ending::HeldHalfClosed => script.tail(&[Step::Shutdown, Step::Hold]),
        };
        script.io(self.io)
    }
}
