//! The bounds on what a peer may announce or send. Each is a refusal, never a reservation: nothing
//! is allocated because a peer announced it.

/// Most arguments of one request, the command word included (Redis' own bound).
pub const ARGS_MAX: u64 = 1_048_576;

/// Most bytes of one argument of a request (Redis' default `proto-max-bulk-len`).
pub const BULK_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Most bytes of one request or reply: offsets into a message are 32 bits wide.
pub const MESSAGE_BYTES_MAX: u64 = u32::MAX as u64;

/// Most bytes of an inline request before its line end (Redis' own bound).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Most digits of a length or count, leading zeros included.
pub const DIGITS_MAX: u8 = 20;

/// Most elements one aggregate of a reply may announce.
pub const ELEMENTS_MAX: u64 = i32::MAX as u64;

/// Most bytes of a one-line reply. Errors of scripts carry whole back traces, so the bound is wide.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
