//! The contract with the central server: what a server's author depends on.
#![forbid(unsafe_code)]
