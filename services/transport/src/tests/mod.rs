//! Services and callers over real connections.

mod fixture;
mod limits;
mod observed;
mod trust;
