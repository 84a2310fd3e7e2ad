//! Command line of the edge agent.

fn main() {}
