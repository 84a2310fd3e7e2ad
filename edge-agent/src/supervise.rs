//! Restarts with back-off and an orderly stop.
