//! What redial reads from the host's own tables, against what the tests did and what the kernel says elsewhere.

mod connections;
mod descriptors;
mod holder;
mod kernel;
mod listeners;
mod namespaces;
mod ports;
mod time_wait;
