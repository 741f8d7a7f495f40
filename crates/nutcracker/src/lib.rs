//! The product: configuration, command line, control thread and workers, put together.
#![forbid(unsafe_code)]
