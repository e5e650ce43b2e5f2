//! The store's behaviour: what matches, what is released when, what can be undone, and what never shows.

mod canary;
mod changes;
mod screening;
mod staff;
mod world;
