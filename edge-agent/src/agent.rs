//! The whole data flow on one page.
