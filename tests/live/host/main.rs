//! What redial reads from the host's own tables, against what the tests did and what the kernel says elsewhere.

mod descriptors;
mod holder;
mod listeners;
mod namespaces;
mod ports;
mod time_wait;
