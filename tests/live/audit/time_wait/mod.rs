//! Sockets in TIME_WAIT: on whose edge they are shown, against ss joined with what the generator wrote down.

mod churn;
mod filters;
mod held;
mod older;
