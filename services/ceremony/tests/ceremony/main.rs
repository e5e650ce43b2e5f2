//! The whole ceremony, on a disk: what it makes, what it keeps apart, what stops it.

mod configured;
mod durable;
mod running;
mod secrets;
mod shares;
mod stages;
mod support;
mod tampering;
