//! The store's behaviour: what matches, what is released when, what can be undone, and what never shows.

mod canary;
mod cases;
mod changes;
mod disclosures;
mod importing;
mod key_index;
mod rescreen;
mod screening;
mod staff;
mod world;
