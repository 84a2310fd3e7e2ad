//! The local endpoint: health for people on the pole and for machines that watch it.
//!
//! Invariants: no plate text, no photo and no credential is ever on it; it only answers `GET` and
//! `HEAD`; a client that is slow, silent or many cannot keep it from answering others.
//! Fails by [`LocalError`] where it cannot listen; after that a broken connection costs only
//! itself.

pub mod pages;
pub mod report;
pub mod routes;
pub mod server;

pub use server::{LocalError, bind, serve, serve_on};
