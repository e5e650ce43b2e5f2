//! Drills of docs/DRILLS.md as operators take them: with the commands that it names, on an event whose services are processes.

#![allow(clippy::disallowed_methods)]

mod event;
mod orders;
mod up;
mod upgrade;
