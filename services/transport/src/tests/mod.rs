//! Services and callers over real connections.

mod fixture;
mod limits;
mod trust;
